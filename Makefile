# SPDX-License-Identifier: MIT
#
#   make          the daemon and its client, build/release/txmilter and
#                 txmilterctl
#   make check    installs what the tests need and runs every test
#   make demo     a private Postfix, the daemon and a stand-in API, with mail
#   make bench    throughput, latency, CPU and memory, against no milter and the barest
#   make fuzz     the fuzz targets, FUZZ_SECONDS each
#   make install  DESTDIR= PREFIX=
#
# One build directory per variant (B), so that sanitizers never mix.

B ?= build/release
SANITIZE ?=
CC ?= gcc
PKG_CONFIG ?= pkg-config
PYTHON ?= /usr/bin/python3
PREFIX ?= /usr
CORPORA ?= ../shared/corpora
FUZZ_SECONDS ?= 60

PKGS := gmime-3.0 jansson libcurl libcrypto lmdb inih libmicrohttpd
VERSION := 0.1.0

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wpointer-arith -Wcast-qual -Wwrite-strings -Wformat=2 -Wvla
HARDEN := -fstack-protector-strong -fstack-clash-protection -fPIE
OPT ?= -O2
ifeq ($(SANITIZE),)
HARDEN += -D_FORTIFY_SOURCE=2
else
OPT := -O1 -fno-omit-frame-pointer -fsanitize=$(SANITIZE)
endif
ifdef CI
WARN += -Werror
endif

ALL_CFLAGS = -std=c11 -D_GNU_SOURCE -DTXMILTER_VERSION='"$(VERSION)"' -I. -g \
	$(OPT) $(HARDEN) $(WARN) $(shell $(PKG_CONFIG) --cflags $(PKGS)) \
	-pthread $(CFLAGS)
ALL_LDFLAGS = -pie -Wl,-z,relro,-z,now -pthread $(OPT) $(LDFLAGS)
POLICY_LIBS = $(shell $(PKG_CONFIG) --libs gmime-3.0 jansson)
CTL_LIBS = $(shell $(PKG_CONFIG) --libs gmime-3.0 jansson libcrypto inih)
DAEMON_LIBS = $(shell $(PKG_CONFIG) --libs $(PKGS)) -lmilter

POLICY_SRC := $(sort $(wildcard policy/*.c))

# Everything of the daemon but main(), so that tests can link it.
MILTER_SRC := \
	milter/account_cache.c \
	milter/account_record.c \
	milter/api_batch.c \
	milter/api_health.c \
	milter/api_service.c \
	milter/auth_throttle.c \
	milter/callbacks.c \
	milter/commands.c \
	milter/config.c \
	milter/config_file.c \
	milter/config_option.c \
	milter/config_value.c \
	milter/control_server.c \
	milter/copies.c \
	milter/copy_arrival.c \
	milter/copy_ledger.c \
	milter/copy_seal.c \
	milter/copy_terms.c \
	milter/crypto.c \
	milter/daemon.c \
	milter/handoff.c \
	milter/handoff_direct.c \
	milter/handoff_queue.c \
	milter/handoff_transport.c \
	milter/housekeeper.c \
	milter/http_pool.c \
	milter/key_cache.c \
	milter/key_check.c \
	milter/key_hide.c \
	milter/key_known.c \
	milter/key_reason.c \
	milter/key_lines.c \
	milter/key_table.c \
	milter/key_used.c \
	milter/key_wait.c \
	milter/keystore.c \
	milter/limits.c \
	milter/listener.c \
	milter/lmtp_agent.c \
	milter/lmtp_command.c \
	milter/lmtp_protocol.c \
	milter/log.c \
	milter/login.c \
	milter/loop.c \
	milter/mailbox.c \
	milter/manage.c \
	milter/manage_keys.c \
	milter/metrics.c \
	milter/metrics_http.c \
	milter/plan_seal.c \
	milter/pool_wake.c \
	milter/queue_delivery.c \
	milter/prompt_stop.c \
	milter/rate_limit.c \
	milter/reload.c \
	milter/report.c \
	milter/resubmit.c \
	milter/request.c \
	milter/sasl.c \
	milter/sasl_protocol.c \
	milter/sent_memory.c \
	milter/services.c \
	milter/session.c \
	milter/store.c \
	milter/submission.c \
	milter/trial.c \
	milter/trial_page.c

# The client: what it shares with the daemon, and what is its own.
CTL_SRC := \
	milter/commands.c \
	milter/config.c \
	milter/config_file.c \
	milter/config_option.c \
	milter/config_value.c \
	milter/control_client.c \
	milter/control_message.c \
	milter/crypto.c \
	milter/ctl_arguments.c \
	milter/ctl_help.c \
	milter/ctl_input.c \
	milter/ctl_request.c \
	milter/ctl_talk.c \
	milter/ctl_try.c \
	milter/listener.c \
	milter/log.c \
	milter/milter_wire.c \
	milter/txmilterctl.c

POLICY_OBJ := $(POLICY_SRC:%.c=$(B)/%.o)
MILTER_OBJ := $(MILTER_SRC:%.c=$(B)/%.o)
CTL_OBJ := $(CTL_SRC:%.c=$(B)/%.o)

all: $(B)/txmilter $(B)/txmilterctl

$(B)/txmilter: $(B)/milter/main.o $(MILTER_OBJ) $(B)/libpolicy.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(DAEMON_LIBS)

$(B)/txmilterctl: $(CTL_OBJ) $(B)/libpolicy.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(CTL_LIBS)

$(B)/libpolicy.a: $(POLICY_OBJ)
	rm -f $@
	$(AR) rcs $@ $^

$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

-include $(shell find $(B) build/fuzz -name '*.d' 2>/dev/null)

# --- unit tests -------------------------------------------------------------
# A test of policy/ links the library; a test of milter/ links only what its
# line says: the line is the dependency check.

UNIT_POLICY := \
	test_account \
	test_address \
	test_api_campaignmonitor \
	test_api_emaildelivery \
	test_api_flexmail \
	test_api_generic \
	test_api_sparkpost \
	test_api_write \
	test_body \
	test_body_want \
	test_charset \
	test_compose \
	test_corpora \
	test_date_text \
	test_dialect_campaignmonitor \
	test_dialect_emaildelivery \
	test_dialect_flexmail \
	test_dialect_auto \
	test_dialect_sparkpost \
	test_dynbuf \
	test_feature \
	test_header_json \
	test_header_text \
	test_html \
	test_html_entity \
	test_html_links \
	test_html_look \
	test_html_scan \
	test_html_to_text \
	test_json_text \
	test_mail_reader \
	test_message \
	test_mime \
	test_mime_parameter \
	test_plan \
	test_quoted_printable \
	test_requeue \
	test_requeue_copies \
	test_route \
	test_smtp_reply \
	test_text_fill \
	test_sparkpost_login \
	test_trace \
	test_tracking \
	test_utf8

UNIT_MILTER := \
	test_api_batch \
	test_api_health \
	test_config \
	test_control_client \
	test_control_message \
	test_copy_arrival \
	test_copy_ledger \
	test_crypto \
	test_ctl_arguments \
	test_ctl_docs \
	test_docs \
	test_handoff \
	test_http_pool \
	test_key_cache \
	test_key_check \
	test_key_hide \
	test_keystore \
	test_limits \
	test_listener \
	test_lmtp_agent \
	test_lmtp_protocol \
	test_log \
	test_mailbox \
	test_metrics \
	test_metrics_http \
	test_milter_wire \
	test_plan_seal \
	test_prompt_stop \
	test_queue_delivery \
	test_rate_limit \
	test_report \
	test_request \
	test_resubmit \
	test_sasl \
	test_sasl_protocol \
	test_sent_memory \
	test_store \
	test_submission

# The key store, without what it stands on.
KEYSTORE := keystore account_cache account_record key_lines key_used
# What tests/unit/api_scene.c stands on, and what is tested in it.
API_SCENE := api_batch api_health api_service config config_file config_option \
	config_value crypto key_hide listener metrics plan_seal pool_wake rate_limit \
	sent_memory store submission
WITH_DIALECT_SCENE := test_dialect_campaignmonitor test_dialect_flexmail
WITH_API_SCENE := test_api_batch test_handoff test_queue_delivery
# Formats of APIs, by tables of tests/unit/api_rows.c.
WITH_API_ROWS := test_api_campaignmonitor test_api_flexmail test_api_generic \
	test_api_sparkpost

LINK_test_config := config config_file config_option config_value \
	listener log
LINK_test_api_batch := $(API_SCENE)
LINK_test_api_health := api_health log
LINK_test_control_client := control_client control_message milter_wire crypto \
	listener
LINK_test_control_message := control_message
LINK_test_copy_arrival := copy_arrival copy_ledger copy_seal crypto log
LINK_test_copy_ledger := copy_ledger crypto
LINK_test_crypto := crypto
LINK_test_docs := config config_file config_option config_value \
	listener log metrics
LINK_test_ctl_arguments := ctl_arguments ctl_help ctl_input ctl_request commands \
	crypto
LINK_test_ctl_docs := commands ctl_arguments
LINK_test_handoff := copy_terms handoff handoff_direct handoff_queue handoff_transport \
	limits $(API_SCENE)
LINK_test_http_pool := http_pool log
LINK_test_key_cache := key_cache key_known key_table crypto store log
LINK_test_key_check := key_check key_hide key_cache key_known key_table \
	$(KEYSTORE) crypto store log
LINK_test_key_hide := key_hide
LINK_test_limits := limits rate_limit crypto
LINK_test_keystore := $(KEYSTORE) key_cache key_known key_table crypto store log
LINK_test_listener := listener
LINK_test_lmtp_agent := lmtp_agent lmtp_protocol lmtp_command loop mailbox log
LINK_test_lmtp_protocol := lmtp_protocol lmtp_command
LINK_test_log := log
LINK_test_mailbox := mailbox
LINK_test_report := report
LINK_test_request := request commands crypto
LINK_test_resubmit := resubmit listener log
LINK_test_metrics := metrics
LINK_test_metrics_http := metrics_http listener log
LINK_test_plan_seal := plan_seal crypto
LINK_test_prompt_stop := prompt_stop
LINK_test_queue_delivery := copies copy_arrival copy_ledger copy_seal \
	copy_terms queue_delivery $(API_SCENE)
LINK_test_rate_limit := rate_limit crypto
LINK_test_milter_wire := milter_wire
LINK_test_sasl := sasl sasl_protocol loop mailbox crypto log metrics rate_limit \
	key_reason auth_throttle
LINK_test_sasl_protocol := sasl_protocol
LINK_test_sent_memory := sent_memory crypto store log
LINK_test_store := store log
LINK_test_submission := submission crypto

# What tests/unit/html_scene.c is for.
WITH_HTML_SCENE := test_html_entity test_html_links test_html_look \
	test_html_scan test_html_to_text

UNIT := $(UNIT_POLICY) $(UNIT_MILTER)
UNIT_BIN := $(UNIT:%=$(B)/tests/unit/%)
# These start threads: they run under ThreadSanitizer too.
UNIT_THREADED := test_api_batch test_api_health test_control_client \
	test_copy_ledger test_handoff test_http_pool test_key_cache test_key_check \
	test_keystore test_lmtp_agent test_mailbox test_metrics \
	test_metrics_http test_prompt_stop test_queue_delivery \
	test_rate_limit test_resubmit test_sasl test_sent_memory test_store

$(UNIT_POLICY:%=$(B)/tests/unit/%): $(B)/tests/unit/%: $(B)/tests/unit/%.o \
    $(B)/libpolicy.a
	$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) \
		$(POLICY_LIBS) -lcmocka
$(WITH_DIALECT_SCENE:%=$(B)/tests/unit/%): $(B)/tests/unit/dialect_scene.o

define unit_milter
$(B)/tests/unit/$(1): $(B)/tests/unit/$(1).o $(LINK_$(1):%=$(B)/milter/%.o) \
    $(B)/libpolicy.a
	$(CC) $$(ALL_LDFLAGS) -o $$@ $$^ $$(DAEMON_LIBS) -lcmocka
endef
$(foreach t,$(UNIT_MILTER),$(eval $(call unit_milter,$(t))))
$(WITH_API_SCENE:%=$(B)/tests/unit/%): $(B)/tests/unit/api_scene.o
$(WITH_API_ROWS:%=$(B)/tests/unit/%): $(B)/tests/unit/api_rows.o
$(B)/tests/unit/test_api_generic: $(B)/tests/unit/json_schema.o
$(WITH_HTML_SCENE:%=$(B)/tests/unit/%): $(B)/tests/unit/html_scene.o

unit-bin: $(UNIT_BIN)

unit: $(UNIT_BIN)
	CORPORA=$(CORPORA) tests/run-unit $(UNIT_BIN)

unit-threaded-bin: $(UNIT_THREADED:%=$(B)/tests/unit/%)

unit-threaded: unit-threaded-bin
	tests/run-unit $(UNIT_THREADED:%=$(B)/tests/unit/%)

# --- purity: policy/ asks the system for nothing ------------------------------

purity: $(B)/libpolicy.a
	tests/purity $<

# --- fuzzing ------------------------------------------------------------------
# libFuzzer wants clang; everything a target needs is compiled with it.

FUZZ := fuzz_api fuzz_config fuzz_copies fuzz_dialect fuzz_header fuzz_html \
	fuzz_lmtp \
	fuzz_mail_reader fuzz_message fuzz_plan fuzz_request fuzz_sasl fuzz_wire
FB := build/fuzz
FUZZ_CC := clang
FUZZ_CFLAGS = -std=c11 -D_GNU_SOURCE -I. -g -O1 -fno-omit-frame-pointer \
	-fsanitize=fuzzer-no-link,address,undefined \
	$(shell $(PKG_CONFIG) --cflags $(PKGS))
FUZZ_EXTRA := commands config config_file config_option config_value crypto listener \
	lmtp_command lmtp_protocol log milter_wire request sasl_protocol
FUZZ_OBJ := $(POLICY_SRC:%.c=$(FB)/%.o) $(FUZZ_EXTRA:%=$(FB)/milter/%.o)

$(FB)/%.o: %.c
	@mkdir -p $(@D)
	$(FUZZ_CC) $(FUZZ_CFLAGS) -MMD -MP -c -o $@ $<

$(FUZZ:%=$(FB)/%): $(FB)/%: $(FB)/tests/fuzz/%.o $(FUZZ_OBJ)
	$(FUZZ_CC) -fsanitize=fuzzer,address,undefined -o $@ $^ $(DAEMON_LIBS)

$(FB)/fuzz_api: $(FB)/tests/unit/json_schema.o

fuzz: $(FUZZ:%=$(FB)/%)
	tests/fuzz/run $(FUZZ_SECONDS) $^

# --- documentation -------------------------------------------------------------
# Whether it says what the tables say is tests/unit/test_docs.c.

docs-check:
	mandoc -T lint -W warning man/*.[1-9]
	@echo "$(words $(wildcard man/*.[1-9])) passed"

# Which test shows what the providers promise.
features:
	$(PYTHON) tests/features

# --- end to end, with a private Postfix ---------------------------------------

TXMILTER_BIN ?= build/release/txmilter

PYTEST = TXMILTER_BIN=$(abspath $(TXMILTER_BIN)) $(PYTHON) -m pytest -q \
	-p no:cacheprovider

e2e:
	$(PYTEST) -m "not counts" tests/e2e

# TXMILTER_COUNT_SECONDS, TXMILTER_DOWN_SECONDS: see tests/e2e/test_counts.py
counts:
	$(PYTEST) -m counts tests/e2e

# --- benchmark ------------------------------------------------------------------

TB := $(B)/tests/bench
BENCH_TOOLS := $(TB)/smtpload $(TB)/apistub $(TB)/floor $(TB)/policy_bench \
	$(TB)/html_bench $(TB)/keystore_bench

$(TB)/smtpload: $(TB)/smtpload.o $(TB)/load.o $(TB)/latency.o $(TB)/payload.o
	$(CC) $(ALL_LDFLAGS) -o $@ $^

$(TB)/apistub: $(TB)/apistub.o
	$(CC) $(ALL_LDFLAGS) -o $@ $^

$(TB)/floor: $(TB)/floor.o
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(shell $(PKG_CONFIG) --libs libcurl) -lmilter

$(TB)/policy_bench: $(TB)/policy_bench.o $(B)/libpolicy.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(POLICY_LIBS)

$(TB)/html_bench: $(TB)/html_bench.o $(B)/libpolicy.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(POLICY_LIBS)

$(TB)/keystore_bench: $(TB)/keystore_bench.o \
    $(LINK_test_keystore:%=$(B)/milter/%.o) $(B)/libpolicy.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(DAEMON_LIBS)

bench-bin: $(BENCH_TOOLS)

bench: deps
	$(MAKE) all bench-bin
	$(PYTHON) tests/bench/bench.py --build $(B) $(BENCH_ARGS)

bench-queue: deps
	$(MAKE) all bench-bin
	$(PYTHON) tests/bench/queue_bench.py --build $(B) $(BENCH_ARGS)

# --- what people run ----------------------------------------------------------

deps:
	packaging/deps

check: deps
	packaging/deps clients
	MAKE="$(MAKE)" tests/run-check build/check

demo: deps
	$(MAKE) all
	$(PYTHON) tests/demo/demo.py

install: all
	install -D -m 0755 $(B)/txmilter $(DESTDIR)$(PREFIX)/sbin/txmilter
	install -D -m 0755 $(B)/txmilterctl $(DESTDIR)$(PREFIX)/sbin/txmilterctl
	install -D -m 0644 packaging/completion/txmilterctl \
		$(DESTDIR)$(PREFIX)/share/bash-completion/completions/txmilterctl
	install -D -m 0644 packaging/postfix/master.cf.txmilter \
		$(DESTDIR)$(PREFIX)/share/txmilter/postfix/master.cf.txmilter
	install -D -m 0644 packaging/postfix/txmilter_header_checks \
		$(DESTDIR)$(PREFIX)/share/txmilter/postfix/txmilter_header_checks
	for unit in txmilter.service txmilter-sasl.socket txmilter-lmtp.socket; do \
		install -D -m 0644 packaging/systemd/$$unit \
			$(DESTDIR)$(PREFIX)/lib/systemd/system/$$unit || exit 1; \
	done
	install -D -m 0644 man/txmilter.8 \
		$(DESTDIR)$(PREFIX)/share/man/man8/txmilter.8
	install -D -m 0644 man/txmilterctl.8 \
		$(DESTDIR)$(PREFIX)/share/man/man8/txmilterctl.8
	install -D -m 0644 man/txmilter.conf.5 \
		$(DESTDIR)$(PREFIX)/share/man/man5/txmilter.conf.5
	install -D -m 0644 man/txmilter-headers.7 \
		$(DESTDIR)$(PREFIX)/share/man/man7/txmilter-headers.7
	install -D -m 0644 man/txmilter-message.schema.json \
		$(DESTDIR)$(PREFIX)/share/txmilter/txmilter-message.schema.json

clean:
	rm -rf build

.PHONY: all bench-bin bench-queue counts unit unit-bin unit-threaded unit-threaded-bin purity fuzz e2e deps \
	check demo install clean bench docs-check features
