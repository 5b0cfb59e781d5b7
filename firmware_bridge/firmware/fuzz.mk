# Fuzz targets and sanitizer builds: `make fuzz SECONDS=60` runs each target for so long.

CLANG ?= clang
SECONDS ?= 60
CORPUS ?= $(BUILD)/corpus
SANITIZERS := -g -O1 -fno-omit-frame-pointer -fno-sanitize-recover=all
FUZZ_TARGETS := $(patsubst tests/fuzz_%.c,%,$(wildcard tests/fuzz_*.c))
# What the targets include: a target is made anew when any of it changes.
FUZZ_SHARED := tests/hostile.h tests/replay.c tests/replay.h fuzz.mk
FUZZ_WARNINGS := -std=c99 -Wall -Wextra -Wpedantic -Werror -Wno-unused-function

.PHONY: fuzz fuzzers sanitized
fuzzers: $(FUZZ_TARGETS:%=$(BUILD)/fuzz/%)
sanitized: $(FUZZ_TARGETS:%=$(BUILD)/sanitized/%)

comma := ,
CHECKS := address$(comma)undefined
$(eval $(call library,fuzz,$(CLANG),ar,-fsanitize=fuzzer-no-link$$(comma)$$(CHECKS) $(SANITIZERS)))
$(eval $(call library,sanitized,$(HOST_CC),ar,-fsanitize=$$(CHECKS) $(SANITIZERS)))

$(BUILD)/fuzz/%: tests/fuzz_%.c $(FUZZ_SHARED) $(HEADERS) $(BUILD)/fuzz/libdepin.a
	$(CLANG) -fsanitize=fuzzer,address,undefined $(SANITIZERS) $(FUZZ_WARNINGS) $(INCLUDES) \
	    $< $(BUILD)/fuzz/libdepin.a -o $@

$(BUILD)/sanitized/%: tests/fuzz_%.c tests/replay_cases.c $(FUZZ_SHARED) $(HEADERS) \
    $(BUILD)/sanitized/libdepin.a
	$(HOST_CC) -fsanitize=address,undefined $(SANITIZERS) $(FUZZ_WARNINGS) $(INCLUDES) \
	    $< tests/replay_cases.c $(BUILD)/sanitized/libdepin.a -o $@

fuzz: fuzzers
	@for target in $(FUZZ_TARGETS); do \
	    mkdir -p $(CORPUS)/$$target && \
	    $(BUILD)/fuzz/$$target -max_total_time=$(SECONDS) -max_len=8192 -artifact_prefix=$(BUILD)/fuzz/ \
	        $(CORPUS)/$$target || exit 1; \
	done
