# Fuzz targets and sanitizer builds: `make fuzz SECONDS=60` runs each target for so long.

CLANG ?= clang
SECONDS ?= 60
CORPUS ?= $(BUILD)/corpus
SANITIZERS := -g -O1 -fno-omit-frame-pointer -fno-sanitize-recover=all
FUZZ_TARGETS := $(patsubst tests/fuzz_%.c,%,$(wildcard tests/fuzz_*.c))
FUZZ_WARNINGS := -std=c99 -Wall -Wextra -Wpedantic -Werror -Wno-unused-function

.PHONY: fuzz fuzzers sanitized
fuzzers: $(FUZZ_TARGETS:%=$(BUILD)/fuzz/%)
sanitized: $(FUZZ_TARGETS:%=$(BUILD)/sanitized/%) $(BUILD)/sanitized/core

comma := ,
CHECKS := address$(comma)undefined
$(eval $(call library,fuzz,$(CLANG),ar,-fsanitize=fuzzer-no-link$$(comma)$$(CHECKS) $(SANITIZERS)))
$(eval $(call library,sanitized,$(HOST_CC),ar,-fsanitize=$$(CHECKS) $(SANITIZERS)))

$(BUILD)/fuzz/%: tests/fuzz_%.c tests/hostile.h $(BUILD)/fuzz/libdepin.a fuzz.mk
	$(CLANG) -fsanitize=fuzzer,address,undefined $(SANITIZERS) $(FUZZ_WARNINGS) $(INCLUDES) \
	    $< $(BUILD)/fuzz/libdepin.a -o $@

$(BUILD)/sanitized/%: tests/fuzz_%.c tests/replay_cases.c tests/hostile.h \
    $(BUILD)/sanitized/libdepin.a fuzz.mk
	$(HOST_CC) -fsanitize=address,undefined $(SANITIZERS) $(FUZZ_WARNINGS) $(INCLUDES) \
	    $< tests/replay_cases.c $(BUILD)/sanitized/libdepin.a -o $@

fuzz: fuzzers
	@for target in $(FUZZ_TARGETS); do \
	    mkdir -p $(CORPUS)/$$target && \
	    $(BUILD)/fuzz/$$target -max_total_time=$(SECONDS) -max_len=8192 -artifact_prefix=$(BUILD)/fuzz/ \
	        $(CORPUS)/$$target || exit 1; \
	done

# The corpus of the core: its driver takes cases as they are made, not any bytes.
$(BUILD)/sanitized/core: tests/sanitize_core.c tests/replay.c tests/replay_cases.c $(BUILD)/sanitized/libdepin.a
	$(HOST_CC) -fsanitize=address,undefined $(SANITIZERS) $(FUZZ_WARNINGS) $(INCLUDES) \
	    $< tests/replay_cases.c $(BUILD)/sanitized/libdepin.a -o $@
