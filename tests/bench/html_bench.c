/* SPDX-License-Identifier: MIT */
/*
 * html_bench: what reading HTML costs: its text, its links changed, and its
 * links and opens tracked.
 *
 *   html_bench [FILE.html ...]
 *
 * Without files: a newsletter of about 40 kB (a layout of tables, styles in the
 * tags, 60 links, a list, a table of prices), and HTML that was written to take
 * long, a megabyte each. The median of ROUNDS rounds. MB/s counts the HTML.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "policy/dynbuf.h"
#include "policy/html_links.h"
#include "policy/html_to_text.h"
#include "policy/tracking.h"

#define HTML_MAX ((size_t)64 * 1024 * 1024)
#define HOSTILE_LEN ((size_t)1024 * 1024)
#define NEWSLETTER_ROWS 15
#define ROUNDS 9
#define ROUND_SECONDS 0.05

struct bench {
	const char *name;
	bool (*once)(struct dynbuf *out, const struct dynbuf *html);
};

static void
die(const char *what, const char *why)
{
	fprintf(stderr, "html_bench: %s: %s\n", what, why);
	exit(1);
}

static double
now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* --- inputs ------------------------------------------------------------------
 */

#define CELL_STYLE                                                       \
	"style=\"font-family:Helvetica,Arial,sans-serif;font-size:14px;" \
	"line-height:22px;color:#333333;padding:10px 25px;word-break:"   \
	"break-word\""

static void
add_row(struct dynbuf *html, unsigned i)
{
	dynbuf_addf(
	    html,
	    "<tr>\n  <td align=\"left\" style=\"font-size:0px;padding:10px\">\n"
	    "    <!--[if mso | IE]><table><tr><td width=\"600\"><![endif]-->\n"
	    "    <a href=\"https://shop.example/item/%u?utm_source=mail&amp;"
	    "utm_campaign=spring\" target=\"_blank\"><img alt=\"Item %u\" "
	    "height=\"auto\" src=\"https://img.example/%u.png\" "
	    "style=\"border:0;display:block;width:100%%\" width=\"250\"></a>\n"
	    "    <div " CELL_STYLE "><h2 style=\"margin:0\">Item %u &ndash; as "
	    "good as new</h2>\n"
	    "    <p>Lorem ipsum dolor sit amet, consectetur adipiscing elit, "
	    "sed do eiusmod tempor incididunt ut labore et dolore magna "
	    "aliqua. Ut enim ad minim veniam, quis nostrud <b>exercitation</b> "
	    "ullamco laboris nisi ut aliquip ex ea commodo consequat.</p>\n"
	    "    <p>Für Kunden in Österreich&nbsp;&ndash; <i>nur</i> "
	    "&euro;%u,90 "
	    "statt <s>%u,90</s>. Duis aute irure dolor in reprehenderit in "
	    "voluptate velit esse cillum dolore eu fugiat nulla pariatur.</p>\n"
	    "    <ul><li>Excepteur sint occaecat</li><li>cupidatat non "
	    "<a href=\"https://shop.example/terms/%u\">proident</a></li>"
	    "<li>sunt in culpa qui officia</li></ul>\n"
	    "    <table width=\"100%%\"><tr><th " CELL_STYLE ">Size</th>"
	    "<th " CELL_STYLE ">Price</th></tr><tr><td " CELL_STYLE ">M</td>"
	    "<td " CELL_STYLE ">%u.00</td></tr></table>\n"
	    "    <p><a style=\"background:#eb7035;color:#ffffff;display:"
	    "inline-block;font-size:16px;mso-hide:all\" href=\"https://shop."
	    "example/buy/%u\">Buy now &rarr;</a> or <a href=\"mailto:help@shop."
	    "example\">ask us</a>, <a href=\"https://shop.example/%u\">shop."
	    "example/%u</a></p></div>\n"
	    "    <!--[if mso | IE]></td></tr></table><![endif]-->\n"
	    "  </td>\n</tr>\n",
	    i, i, i, i, i, i + 10, i, i, i, i, i);
}

static void
make_newsletter(struct dynbuf *html)
{
	dynbuf_adds(html, "<!doctype html>\n<html>\n<head>\n<meta charset="
			  "\"utf-8\">\n<title>Spring sale</title>\n<style>\n");
	for (int i = 0; i < 30; i++)
		dynbuf_addf(
		    html, ".c%d td, .c%d p { padding: 0 %dpx; color: #333; }\n",
		    i, i, i);
	dynbuf_adds(html, "</style>\n</head>\n<body style=\"margin:0\">\n"
			  "<div style=\"display:none;max-height:0;overflow:"
			  "hidden\">Only today");
	for (int i = 0; i < 100; i++)
		dynbuf_adds(html, "&zwnj;&nbsp;");
	dynbuf_adds(html, "</div>\n<table align=\"center\" width=\"600\" "
			  "cellpadding=\"0\" cellspacing=\"0\">\n<tbody>\n");
	for (unsigned i = 0; i < NEWSLETTER_ROWS; i++)
		add_row(html, i);
	dynbuf_adds(html, "</tbody>\n</table>\n</body>\n</html>\n");
}

static const struct {
	const char *name, *head, *unit;
} hostile[] = {
	{ "<div> in <div>", "", "<div>" },
	{ "<div></div>", "", "<div></div>" },
	{ "spans and paragraphs", "<p>", "<span><p>" },
	{ "far end tags", "<b>", "<i></u>" },
	{ "tables in tables", "", "<table><tr><td>x" },
	{ "one attribute", "<a href=\"", "x" },
	{ "attributes", "<a ", "href=x " },
	{ "unclosed comment", "<!--", "--!" },
	{ "<", "", "<" },
	{ "references", "", "&copyabcdefghijklmn" },
	{ "lines of a quotation", "<blockquote><pre>", "\n" },
	{ "links", "", "<a href=http://x/>x" },
};

static void
make_hostile(struct dynbuf *html, const char *head, const char *unit)
{
	dynbuf_adds(html, head);
	while (html->len < HOSTILE_LEN)
		dynbuf_adds(html, unit);
}

static void
read_file(struct dynbuf *html, const char *path)
{
	FILE *f = fopen(path, "rb");
	char *room = dynbuf_room(html, HTML_MAX - 1);

	if (f == NULL || room == NULL)
		die(path, "cannot be read");
	dynbuf_grown(html, fread(room, 1, HTML_MAX - 1, f));
	fclose(f);
}

/* --- what is measured
 * --------------------------------------------------------- */

static bool
text(struct dynbuf *out, const struct dynbuf *html)
{
	return html_to_text(out, html->data, html->len);
}

static bool
same(void *arg, const char *url, size_t len, struct dynbuf *new_url)
{
	(void)arg;
	return dynbuf_add(new_url, url, len);
}

static bool
links(struct dynbuf *out, const struct dynbuf *html)
{
	return html_links(out, html->data, html->len, same, NULL);
}

static bool
tracked(struct dynbuf *out, const struct dynbuf *html)
{
	static const struct tracking t = {
		.url = "https://t.shop.example",
		.key =
		    (const unsigned char *)"0123456789abcdef0123456789abcdef",
		.key_len = 32,
		.account = "shop",
		.id = "00112233445566778899aabbccddeeff",
	};

	return tracking_rewrite(out, &t, html->data, html->len, true, true);
}

static int
compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Seconds for one document: the median round. */
static double
measure(const struct bench *b, const struct dynbuf *html, size_t *out_r)
{
	double rounds[ROUNDS];

	for (size_t i = 0; i < ROUNDS; i++) {
		double begin = now_s(), end;
		unsigned long n = 0;

		do {
			DYNBUF_AUTO out;

			dynbuf_init(&out, HTML_MAX);
			if (!b->once(&out, html))
				die(b->name, "does not fit");
			*out_r = out.len;
			n++;
			end = now_s();
		} while (end - begin < ROUND_SECONDS);
		rounds[i] = (end - begin) / (double)n;
	}
	qsort(rounds, ROUNDS, sizeof(rounds[0]), compare);
	return rounds[ROUNDS / 2];
}

static void
bench_document(const char *name, const struct dynbuf *html)
{
	static const struct bench benches[] = {
		{ "text", text },
		{ "links", links },
		{ "tracked", tracked },
	};

	for (size_t i = 0; i < sizeof(benches) / sizeof(benches[0]); i++) {
		size_t len = 0;
		double seconds = measure(&benches[i], html, &len);

		printf("| %-22s | %8zu | %-7s | %10.1f | %6.0f | %9zu |\n",
		       name, html->len, benches[i].name, seconds * 1e6,
		       (double)html->len / 1e6 / seconds, len);
	}
}

int
main(int argc, char **argv)
{
	struct dynbuf html;

	dynbuf_init(&html, HTML_MAX);
	printf("| HTML | bytes | what | us | MB/s | bytes of it |\n"
	       "|---|---|---|---|---|---|\n");
	for (int i = 1; i < argc; i++) {
		dynbuf_truncate(&html, 0);
		read_file(&html, argv[i]);
		bench_document(argv[i], &html);
	}
	if (argc == 1) {
		make_newsletter(&html);
		bench_document("newsletter", &html);
	}
	for (size_t i = 0;
	     argc == 1 && i < sizeof(hostile) / sizeof(hostile[0]); i++) {
		dynbuf_truncate(&html, 0);
		make_hostile(&html, hostile[i].head, hostile[i].unit);
		bench_document(hostile[i].name, &html);
	}
	dynbuf_clear(&html);
	return 0;
}
