/**
 * Keyboards and mice of a PC: their controller, PS/2 devices, the pointer of VMware's backdoor.
 *
 *     status 0x1c    SELFTEST CMD UNLOCKED      mode 0x61   KBD_INT DISABLE_MOUSE KCC
 *     write_cmd -1   no command waits for its parameter
 *
 * Source: QEMU hw/input/pckbd.c, ps2.c, include/hw/input/ps2.h, hw/i386/vmmouse.c.
 * @module
 */
import { choice, either, fieldTable, flags, number, register, type Say, within } from "./chipset_rule.ts";
import { hexText, type SymbolRule } from "./rule.ts";

const KBD_COMMANDS: Readonly<Record<number, string>> = {
  0xed: "SET_LEDS",
  0xf0: "SCANCODE",
  0xf3: "SET_RATE",
};
const AUX_COMMANDS: Readonly<Record<number, string>> = { 0xe8: "SET_RES", 0xf3: "SET_SAMPLE" };
const CONTROLLER_COMMANDS: Readonly<Record<number, string>> = {
  0: "none",
  0x60: "WRITE_MODE",
  0xd1: "WRITE_OUTPORT",
  0xd2: "WRITE_OBUF",
  0xd3: "WRITE_AUX_OBUF",
  0xd4: "WRITE_MOUSE",
};

/** A command whose parameter has not come yet; -1 is none. */
function waiting(commands: Readonly<Record<number, string>>): Say {
  return number((value) =>
    value === 0xffffffff
      ? { text: "none" }
      : { text: hexText(value, 2), ...(commands[value] ? { meaning: `${commands[value]} awaits its parameter` } : {}) }
  );
}

const KBD: Record<string, Say> = {
  write_cmd: choice(CONTROLLER_COMMANDS),
  status: flags("0 OBF, 1 IBF, 2 SELFTEST, 3 CMD, 4 UNLOCKED, 5 MOUSE_OBF, 6 GTO, 7 PERR"),
  mode: flags("0 KBD_INT, 1 MOUSE_INT, 2 SYS, 3 NO_KEYLOCK, 4 DISABLE_KBD, 5 DISABLE_MOUSE, 6 KCC"),
  pending_tmp: flags("0 KBD, 1 AUX, 2 CTRL_KBD, 3 CTRL_AUX"),
  "pckbd_outport.outport": flags("0 RESET, 1 A20, 4 OBF, 5 MOUSE_OBF"),
  "pckbd/extended_state.obsrc": flags("0 KBD, 1 MOUSE, 2 CTRL"),
};

/** See the module. */
export const INPUT: readonly SymbolRule[] = [
  ...fieldTable(/^pckbd(-mmio)?$/, within("kbd.", KBD)),
  ...fieldTable(/^ps2kbd$/, {
    "parent_obj.write_cmd": waiting(KBD_COMMANDS),
    "ps2kbd/ledstate.ledstate": flags("0 SCROLL_LOCK, 1 NUM_LOCK, 2 CAPS_LOCK"),
    scan_enabled: either("scans", "does not scan"),
    translate: either("scan codes are translated to set 1", "scan codes as they are"),
    scancode_set: number((value) => ({ meaning: `set ${value}` })),
  }),
  ...fieldTable(/^ps2mouse$/, {
    "parent_obj.write_cmd": waiting(AUX_COMMANDS),
    mouse_status: flags("4 SCALE21, 5 ENABLED, 6 REMOTE"),
    mouse_resolution: number((value) => value < 4 ? { meaning: `${1 << value} counts a millimetre` } : undefined),
    mouse_sample_rate: number((value) => ({ meaning: `${value} samples a second` })),
    mouse_wrap: either("sends back what it gets"),
    mouse_type: choice({ 0: "PS/2", 3: "IMPS/2", 4: "IMEX" }),
    mouse_buttons: flags("0 LEFT, 1 RIGHT, 2 MIDDLE, 3 SIDE, 4 EXTRA"),
  }),
  ...fieldTable(/^vmmouse$/, {
    status: register(undefined, (value) => value === 0xffff ? "off" : value === 0 ? "on" : undefined),
    absolute: either("absolute", "relative"),
  }),
];
