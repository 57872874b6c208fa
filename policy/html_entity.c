/* SPDX-License-Identifier: MIT */
#include "html_entity.h"

#include <string.h>

#include "dynbuf.h"
#include "utf8.h"

/* The longest name below. */
#define NAME_MAX_LEN 16

#define REPLACEMENT 0xfffd

struct name {
	const char *name;
	uint16_t code;
};

/* Those that may end without a semicolon, in the order of their bytes. */
static const struct name bare[] = {
	{ "AElig", 0xc6 },  { "AMP", 0x26 },	{ "Aacute", 0xc1 },
	{ "Acirc", 0xc2 },  { "Agrave", 0xc0 }, { "Aring", 0xc5 },
	{ "Atilde", 0xc3 }, { "Auml", 0xc4 },	{ "COPY", 0xa9 },
	{ "Ccedil", 0xc7 }, { "ETH", 0xd0 },	{ "Eacute", 0xc9 },
	{ "Ecirc", 0xca },  { "Egrave", 0xc8 }, { "Euml", 0xcb },
	{ "GT", 0x3e },	    { "Iacute", 0xcd }, { "Icirc", 0xce },
	{ "Igrave", 0xcc }, { "Iuml", 0xcf },	{ "LT", 0x3c },
	{ "Ntilde", 0xd1 }, { "Oacute", 0xd3 }, { "Ocirc", 0xd4 },
	{ "Ograve", 0xd2 }, { "Oslash", 0xd8 }, { "Otilde", 0xd5 },
	{ "Ouml", 0xd6 },   { "QUOT", 0x22 },	{ "REG", 0xae },
	{ "THORN", 0xde },  { "Uacute", 0xda }, { "Ucirc", 0xdb },
	{ "Ugrave", 0xd9 }, { "Uuml", 0xdc },	{ "Yacute", 0xdd },
	{ "aacute", 0xe1 }, { "acirc", 0xe2 },	{ "acute", 0xb4 },
	{ "aelig", 0xe6 },  { "agrave", 0xe0 }, { "amp", 0x26 },
	{ "aring", 0xe5 },  { "atilde", 0xe3 }, { "auml", 0xe4 },
	{ "brvbar", 0xa6 }, { "ccedil", 0xe7 }, { "cedil", 0xb8 },
	{ "cent", 0xa2 },   { "copy", 0xa9 },	{ "curren", 0xa4 },
	{ "deg", 0xb0 },    { "divide", 0xf7 }, { "eacute", 0xe9 },
	{ "ecirc", 0xea },  { "egrave", 0xe8 }, { "eth", 0xf0 },
	{ "euml", 0xeb },   { "frac12", 0xbd }, { "frac14", 0xbc },
	{ "frac34", 0xbe }, { "gt", 0x3e },	{ "iacute", 0xed },
	{ "icirc", 0xee },  { "iexcl", 0xa1 },	{ "igrave", 0xec },
	{ "iquest", 0xbf }, { "iuml", 0xef },	{ "laquo", 0xab },
	{ "lt", 0x3c },	    { "macr", 0xaf },	{ "micro", 0xb5 },
	{ "middot", 0xb7 }, { "nbsp", 0xa0 },	{ "not", 0xac },
	{ "ntilde", 0xf1 }, { "oacute", 0xf3 }, { "ocirc", 0xf4 },
	{ "ograve", 0xf2 }, { "ordf", 0xaa },	{ "ordm", 0xba },
	{ "oslash", 0xf8 }, { "otilde", 0xf5 }, { "ouml", 0xf6 },
	{ "para", 0xb6 },   { "plusmn", 0xb1 }, { "pound", 0xa3 },
	{ "quot", 0x22 },   { "raquo", 0xbb },	{ "reg", 0xae },
	{ "sect", 0xa7 },   { "shy", 0xad },	{ "sup1", 0xb9 },
	{ "sup2", 0xb2 },   { "sup3", 0xb3 },	{ "szlig", 0xdf },
	{ "thorn", 0xfe },  { "times", 0xd7 },	{ "uacute", 0xfa },
	{ "ucirc", 0xfb },  { "ugrave", 0xf9 }, { "uml", 0xa8 },
	{ "uuml", 0xfc },   { "yacute", 0xfd }, { "yen", 0xa5 },
	{ "yuml", 0xff },
};

/* Those that may not, in that order too. */
static const struct name closed[] = {
	{ "Alpha", 0x391 },	 { "Beta", 0x392 },
	{ "Chi", 0x3a7 },	 { "Dagger", 0x2021 },
	{ "Delta", 0x394 },	 { "Epsilon", 0x395 },
	{ "Eta", 0x397 },	 { "Gamma", 0x393 },
	{ "Hat", 0x5e },	 { "Iota", 0x399 },
	{ "Kappa", 0x39a },	 { "Lambda", 0x39b },
	{ "Mu", 0x39c },	 { "NewLine", 0xa },
	{ "NoBreak", 0x2060 },	 { "NonBreakingSpace", 0xa0 },
	{ "Nu", 0x39d },	 { "OElig", 0x152 },
	{ "Omega", 0x3a9 },	 { "Omicron", 0x39f },
	{ "Phi", 0x3a6 },	 { "Pi", 0x3a0 },
	{ "Prime", 0x2033 },	 { "Psi", 0x3a8 },
	{ "Rho", 0x3a1 },	 { "Scaron", 0x160 },
	{ "Sigma", 0x3a3 },	 { "Tab", 0x9 },
	{ "Tau", 0x3a4 },	 { "Theta", 0x398 },
	{ "Upsilon", 0x3a5 },	 { "Xi", 0x39e },
	{ "Yuml", 0x178 },	 { "ZeroWidthSpace", 0x200b },
	{ "Zeta", 0x396 },	 { "alefsym", 0x2135 },
	{ "alpha", 0x3b1 },	 { "and", 0x2227 },
	{ "ang", 0x2220 },	 { "apos", 0x27 },
	{ "ast", 0x2a },	 { "asymp", 0x2248 },
	{ "bdquo", 0x201e },	 { "beta", 0x3b2 },
	{ "bigstar", 0x2605 },	 { "bsol", 0x5c },
	{ "bull", 0x2022 },	 { "cap", 0x2229 },
	{ "centerdot", 0xb7 },	 { "check", 0x2713 },
	{ "checkmark", 0x2713 }, { "chi", 0x3c7 },
	{ "circ", 0x2c6 },	 { "clubs", 0x2663 },
	{ "colon", 0x3a },	 { "comma", 0x2c },
	{ "commat", 0x40 },	 { "cong", 0x2245 },
	{ "crarr", 0x21b5 },	 { "cross", 0x2717 },
	{ "cup", 0x222a },	 { "dArr", 0x21d3 },
	{ "dagger", 0x2020 },	 { "darr", 0x2193 },
	{ "dash", 0x2010 },	 { "delta", 0x3b4 },
	{ "diams", 0x2666 },	 { "dollar", 0x24 },
	{ "empty", 0x2205 },	 { "emsp", 0x2003 },
	{ "emsp13", 0x2004 },	 { "emsp14", 0x2005 },
	{ "ensp", 0x2002 },	 { "epsilon", 0x3b5 },
	{ "equals", 0x3d },	 { "equiv", 0x2261 },
	{ "eta", 0x3b7 },	 { "euro", 0x20ac },
	{ "excl", 0x21 },	 { "exist", 0x2203 },
	{ "female", 0x2640 },	 { "fnof", 0x192 },
	{ "forall", 0x2200 },	 { "frasl", 0x2044 },
	{ "gamma", 0x3b3 },	 { "ge", 0x2265 },
	{ "grave", 0x60 },	 { "hArr", 0x21d4 },
	{ "hairsp", 0x200a },	 { "harr", 0x2194 },
	{ "hearts", 0x2665 },	 { "hellip", 0x2026 },
	{ "horbar", 0x2015 },	 { "hyphen", 0x2010 },
	{ "image", 0x2111 },	 { "infin", 0x221e },
	{ "int", 0x222b },	 { "iota", 0x3b9 },
	{ "isin", 0x2208 },	 { "kappa", 0x3ba },
	{ "lArr", 0x21d0 },	 { "lambda", 0x3bb },
	{ "lang", 0x2329 },	 { "larr", 0x2190 },
	{ "lbrace", 0x7b },	 { "lbrack", 0x5b },
	{ "lceil", 0x2308 },	 { "lcub", 0x7b },
	{ "ldquo", 0x201c },	 { "le", 0x2264 },
	{ "lfloor", 0x230a },	 { "lowast", 0x2217 },
	{ "lowbar", 0x5f },	 { "loz", 0x25ca },
	{ "lpar", 0x28 },	 { "lrm", 0x200e },
	{ "lsaquo", 0x2039 },	 { "lsqb", 0x5b },
	{ "lsquo", 0x2018 },	 { "male", 0x2642 },
	{ "mdash", 0x2014 },	 { "minus", 0x2212 },
	{ "mu", 0x3bc },	 { "nabla", 0x2207 },
	{ "ndash", 0x2013 },	 { "ne", 0x2260 },
	{ "ni", 0x220b },	 { "notin", 0x2209 },
	{ "nsub", 0x2284 },	 { "nu", 0x3bd },
	{ "num", 0x23 },	 { "numsp", 0x2007 },
	{ "oelig", 0x153 },	 { "oline", 0x203e },
	{ "omega", 0x3c9 },	 { "omicron", 0x3bf },
	{ "oplus", 0x2295 },	 { "or", 0x2228 },
	{ "otimes", 0x2297 },	 { "part", 0x2202 },
	{ "percnt", 0x25 },	 { "period", 0x2e },
	{ "permil", 0x2030 },	 { "perp", 0x22a5 },
	{ "phi", 0x3c6 },	 { "phone", 0x260e },
	{ "pi", 0x3c0 },	 { "piv", 0x3d6 },
	{ "plus", 0x2b },	 { "prime", 0x2032 },
	{ "prod", 0x220f },	 { "prop", 0x221d },
	{ "psi", 0x3c8 },	 { "puncsp", 0x2008 },
	{ "quest", 0x3f },	 { "rArr", 0x21d2 },
	{ "radic", 0x221a },	 { "rang", 0x232a },
	{ "rarr", 0x2192 },	 { "rarrw", 0x219d },
	{ "rbrace", 0x7d },	 { "rbrack", 0x5d },
	{ "rceil", 0x2309 },	 { "rcub", 0x7d },
	{ "rdquo", 0x201d },	 { "real", 0x211c },
	{ "rfloor", 0x230b },	 { "rho", 0x3c1 },
	{ "rlm", 0x200f },	 { "rpar", 0x29 },
	{ "rsaquo", 0x203a },	 { "rsqb", 0x5d },
	{ "rsquo", 0x2019 },	 { "sbquo", 0x201a },
	{ "scaron", 0x161 },	 { "sdot", 0x22c5 },
	{ "semi", 0x3b },	 { "sigma", 0x3c3 },
	{ "sigmaf", 0x3c2 },	 { "sim", 0x223c },
	{ "sol", 0x2f },	 { "spades", 0x2660 },
	{ "star", 0x2606 },	 { "starf", 0x2605 },
	{ "sub", 0x2282 },	 { "sube", 0x2286 },
	{ "sum", 0x2211 },	 { "sup", 0x2283 },
	{ "supe", 0x2287 },	 { "tau", 0x3c4 },
	{ "there4", 0x2234 },	 { "theta", 0x3b8 },
	{ "thetasym", 0x3d1 },	 { "thinsp", 0x2009 },
	{ "tilde", 0x2dc },	 { "trade", 0x2122 },
	{ "uArr", 0x21d1 },	 { "uarr", 0x2191 },
	{ "upsih", 0x3d2 },	 { "upsilon", 0x3c5 },
	{ "verbar", 0x7c },	 { "vert", 0x7c },
	{ "weierp", 0x2118 },	 { "xi", 0x3be },
	{ "zeta", 0x3b6 },	 { "zwj", 0x200d },
	{ "zwnj", 0x200c },
};

static int
compare(const char *s, size_t len, const char *name)
{
	int c = strncmp(s, name, len);

	return c != 0 ? c : (name[len] == '\0' ? 0 : -1);
}

static const struct name *
find_name(const struct name *names, size_t n, const char *s, size_t len)
{
	size_t low = 0, high = n;

	while (low < high) {
		size_t mid = (low + high) / 2;
		int c = compare(s, len, names[mid].name);

		if (c == 0)
			return &names[mid];
		if (c < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return NULL;
}

static const struct name *
find_bare(const char *s, size_t len)
{
	return find_name(bare, sizeof(bare) / sizeof(bare[0]), s, len);
}

static const struct name *
find_any(const char *s, size_t len)
{
	const struct name *found = find_bare(s, len);

	return found != NULL
		   ? found
		   : find_name(closed, sizeof(closed) / sizeof(closed[0]), s,
			       len);
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* The whole of the n letters at s as a name without its semicolon; in text
 * also their beginning: "&copyright" is "(c)right" there. */
static size_t
bare_name(const char *s, size_t n, char next, bool in_attribute,
	  uint32_t *code_r)
{
	size_t least = in_attribute ? n : 1;

	if (in_attribute && next == '=')
		return 0;
	for (; n > 0 && n >= least; n--) {
		const struct name *found = find_bare(s, n);

		if (found != NULL) {
			*code_r = found->code;
			return n;
		}
	}
	return 0;
}

static size_t
named(const char *s, size_t len, bool in_attribute, uint32_t *code_r)
{
	const struct name *found;
	size_t n = 0;

	while (n < len && n <= NAME_MAX_LEN &&
	       (is_letter(s[n]) || is_digit(s[n])))
		n++;
	if (n == 0)
		return 0;
	if (n < len && s[n] == ';' && (found = find_any(s, n)) != NULL) {
		*code_r = found->code;
		return n + 1;
	}
	return bare_name(s, n, n < len ? s[n] : '\0', in_attribute, code_r);
}

/* What a number stands for. */
static uint32_t
character(uint32_t code)
{
	/* The table of the standard: windows-1252, 0x80 to 0x9f. */
	static const uint16_t high[] = {
		0x20ac, 0x81,	0x201a, 0x192,	0x201e, 0x2026, 0x2020, 0x2021,
		0x2c6,	0x2030, 0x160,	0x2039, 0x152,	0x8d,	0x17d,	0x8f,
		0x90,	0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014,
		0x2dc,	0x2122, 0x161,	0x203a, 0x153,	0x9d,	0x17e,	0x178,
	};

	if (code == 0 || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
		return REPLACEMENT;
	return code >= 0x80 && code <= 0x9f ? high[code - 0x80] : code;
}

static int
digit_value(char c, unsigned base)
{
	if (is_digit(c))
		return c - '0';
	if (base == 16 && ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')))
		return (c | 0x20) - 'a' + 10;
	return -1;
}

/* What stands behind "&#". */
static size_t
number(const char *s, size_t len, uint32_t *code_r)
{
	unsigned base = len > 0 && (s[0] == 'x' || s[0] == 'X') ? 16 : 10;
	size_t begin = base == 16 ? 1 : 0, i = begin;
	uint32_t code = 0;

	for (; i < len; i++) {
		int value = digit_value(s[i], base);

		if (value < 0)
			break;
		if (code <= 0x10ffff)
			code = code * base + (uint32_t)value;
	}
	if (i == begin)
		return 0;
	*code_r = character(code);
	return i < len && s[i] == ';' ? i + 1 : i;
}

size_t
html_reference(const char *s, size_t len, bool in_attribute, uint32_t *code_r)
{
	bool numeric = len > 1 && s[1] == '#';
	size_t n = numeric ? number(s + 2, len - 2, code_r)
			   : named(s + 1, len - 1, in_attribute, code_r);

	return n > 0 ? n + (numeric ? 2 : 1) : 0;
}

bool
html_decode(struct dynbuf *out, const char *s, size_t len, bool in_attribute)
{
	const char *end = s + len;

	while (s < end) {
		const char *amp = memchr(s, '&', (size_t)(end - s));
		uint32_t code;
		char bytes[4];
		size_t n;

		if (!dynbuf_add(out, s, (size_t)((amp ? amp : end) - s)))
			return false;
		if (amp == NULL)
			break;
		n = html_reference(amp, (size_t)(end - amp), in_attribute,
				   &code);
		if (!(n > 0 ? dynbuf_add(out, bytes, utf8_put(code, bytes))
			    : dynbuf_add(out, "&", 1)))
			return false;
		s = amp + (n > 0 ? n : 1);
	}
	return true;
}

bool
html_decode_url(struct dynbuf *out, const char *value, size_t len)
{
	size_t begin = out->len, from, to = begin;

	if (!html_decode(out, value, len, true))
		return false;
	from = begin;
	while (from < out->len && (unsigned char)out->data[from] <= ' ')
		from++;
	for (; from < out->len; from++) {
		char c = out->data[from];

		if (c != '\t' && c != '\n' && c != '\r')
			out->data[to++] = c;
	}
	while (to > begin && (unsigned char)out->data[to - 1] <= ' ')
		to--;
	dynbuf_truncate(out, to);
	return true;
}
