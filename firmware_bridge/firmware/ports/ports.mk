# Images for emulated boards, $(EMULATED)/<target>/<image>.elf; included by the Makefile above:
#     make images TARGETS="m4 rv32" IMAGES="measure"
#     make sensor BOARD=m4            the example firmware; PACK readings in a pack

PORTS := $(dir $(lastword $(MAKEFILE_LIST)))
FIRMWARE := $(PORTS)..
EMULATED ?= $(BUILD)/emulated
TARGETS ?= m0 m3 m4 rv32
IMAGES ?= replay cuts measure
BOARD ?= m4
PACK ?= 4

ARM := arm-none-eabi-gcc -mthumb --specs=nano.specs
PORT_CC_m0 := $(ARM) -mcpu=cortex-m0 -DBOARD_MICROBIT -I$(PORTS)cortex-m
PORT_CC_m3 := $(ARM) -mcpu=cortex-m3 -DBOARD_LM3S6965 -I$(PORTS)cortex-m
PORT_CC_m4 := $(ARM) -mcpu=cortex-m4 -DBOARD_AN386 -I$(PORTS)cortex-m
PORT_CC_rv32 := riscv64-unknown-elf-gcc -misa-spec=2.2 -march=rv32imac -mabi=ilp32 \
	--specs=picolibc.specs
PORT_LD_m0 := -L$(PORTS)cortex-m -Tmicrobit.ld
PORT_LD_m3 := -L$(PORTS)cortex-m -Tlm3s6965.ld
PORT_LD_m4 := -L$(PORTS)cortex-m -Tan386.ld
PORT_LD_rv32 := -L$(PORTS)rv32 -Tvirt.ld -Wl,--no-warn-rwx-segments
PORT_BOARD_m0 := cortex-m/start cortex-m/uart
PORT_BOARD_m3 := $(PORT_BOARD_m0)
PORT_BOARD_m4 := $(PORT_BOARD_m0)
PORT_BOARD_rv32 := rv32/board rv32/start

PORT_CFLAGS := -std=c99 -Wall -Wextra -Wpedantic -Werror -Os -g -ffunction-sections \
	-fdata-sections -I$(FIRMWARE)/include -I$(FIRMWARE)/src -I$(PORTS)bare -I$(MONOCYPHER) \
	-DSENSOR_PACK=$(PACK)
PORT_HEADERS := $(wildcard $(FIRMWARE)/include/depin/*.h $(FIRMWARE)/src/*.h $(PORTS)*/*.h \
	$(FIRMWARE)/examples/noise_sensor/*.h)
PORT_LIBRARY := $(patsubst $(FIRMWARE)/src/%.c,src/%,$(wildcard $(FIRMWARE)/src/*.c))
PORT_BARE := $(patsubst $(PORTS)bare/%.c,bare/%,$(wildcard $(PORTS)bare/*.c))
PORT_IMAGE_replay := tests/replay corpus/replay
PORT_IMAGE_cuts := tests/cuts
PORT_IMAGE_measure := tests/measure
PORT_IMAGE_sensor := $(patsubst $(FIRMWARE)/examples/noise_sensor/%.c,sensor/%,\
	$(wildcard $(FIRMWARE)/examples/noise_sensor/*.c))

.PHONY: images sensor
images: $(foreach target,$(TARGETS),$(IMAGES:%=$(EMULATED)/$(target)/%.elf))
sensor: $(EMULATED)/$(BOARD)/sensor.elf

define PORT_COMPILE # target, name of a folder of objects, folder of its sources
$(EMULATED)/$(1)/$(2)/%.o: $(3)/%.c $(PORT_HEADERS) $(FETCHED)
	@mkdir -p $$(@D)
	$(PORT_CC_$(1)) $(PORT_CFLAGS) -c $$< -o $$@
endef

define PORT_LINK # target, image
$(EMULATED)/$(1)/$(2).elf: $(foreach part,$(PORT_BOARD_$(1)) $(PORT_LIBRARY) $(PORT_BARE) \
		$(PORT_IMAGE_$(2)),$(EMULATED)/$(1)/$(part).o)
	$(PORT_CC_$(1)) -nostartfiles -nodefaultlibs $(PORT_LD_$(1)) -Wl,--gc-sections \
		$$^ -lc -lgcc -o $$@
endef

define PORT_TARGET
$(call PORT_COMPILE,$(1),src,$(FIRMWARE)/src)
$(call PORT_COMPILE,$(1),bare,$(PORTS)bare)
$(call PORT_COMPILE,$(1),tests,$(FIRMWARE)/tests/emulated)
$(call PORT_COMPILE,$(1),corpus,$(FIRMWARE)/tests)
$(call PORT_COMPILE,$(1),sensor,$(FIRMWARE)/examples/noise_sensor)
$(call PORT_COMPILE,$(1),cortex-m,$(PORTS)cortex-m)
$(call PORT_COMPILE,$(1),rv32,$(PORTS)rv32)
$(EMULATED)/$(1)/rv32/%.o: $(PORTS)rv32/%.S
	@mkdir -p $$(@D)
	$(PORT_CC_$(1)) -c $$< -o $$@
$(foreach image,replay cuts measure sensor,$(call PORT_LINK,$(1),$(image))
)
endef

$(foreach target,$(TARGETS),$(eval $(call PORT_TARGET,$(target))))
