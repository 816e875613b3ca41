/**
 * Sentences of a QEMU that does not come so far as to load: its host lacks something, or a disk is not to be had. What each
 * means; see why_rules.ts. None is about what is in the file.
 *
 * Source of the sentences: QEMU 10.0 block/file-posix.c (raw_check_lock_bytes), block/qcow2.c, system/physmem.c, system/vl.c,
 * accel/kvm/kvm-all.c, target/i386/cpu.c (mark_unavailable_features), util/qemu-sockets.c.
 * @module
 */
import type { WhyRule } from "./why_rules.ts";

/** Rows about the host of the destination. */
export const HOST_RULES: readonly WhyRule[] = [
  {
    pattern: /Failed to get "(.+?)" lock$/,
    cause:
      'a disk of the guest is open in another program, which keeps the "$1" lock: often the source, which still runs',
    advice: "end what has it, or detach the disk there; two guests that write to one disk damage it",
  },
  {
    pattern: /^Is another process using the image \[(.+)\]\?$/,
    cause: "the disk is $1",
    advice: "lsof, or virsh list --all, tells who has it",
  },
  {
    pattern: /Image is not in (\S+) format$/,
    cause: "a disk that was $1 when the guest was saved is something else now: another file, or it was converted",
    advice: "qemu-img info tells what it is; bring the disk as it was at the moment of the save",
  },
  {
    pattern: /(?:cannot set up guest memory '(.+)'|unable to map backing store for guest RAM)(?:: (.+))?$/,
    cause: "the host has not the memory for the guest: $2",
    advice: "free memory or huge pages, or restore on a larger host: a guest's memory cannot be made smaller",
    find: (match, facts) => match[1] === undefined ? undefined : facts.inBlock(match[1], "usedLength"),
  },
  {
    pattern: /(?:could not access KVM kernel module|failed to initialize kvm)(?:: (.+))?$/i,
    cause: "there is no KVM here: $1",
    advice:
      "load kvm_intel or kvm_amd, look at the rights of /dev/kvm; a guest saved under KVM does not go on under TCG",
  },
  {
    pattern: /^unsupported machine type: "(.+)"$/,
    cause: "this QEMU has no machine type $1",
    advice: "use a QEMU that has it (-machine help): the machine type of a guest that runs cannot be changed",
    find: (match, facts) => facts.line(/^configuration\.machine$/, match[1]),
  },
  {
    pattern: /^(?:host|TCG) doesn't support requested features?(?:: (.+))?$/i,
    cause: "the CPU model of the guest has features this host or TCG has not: $1",
    advice: "restore on a host like the first: what was found there at boot may be used any time",
  },
  {
    pattern: /Failed to (?:bind socket|find an available port)(?:.*?: (.+))?$/,
    cause: "an address or port of the guest (VNC, SPICE, a serial port) is in use, or not this host's: $1",
    advice: "give it another one; addresses are no part of what was saved",
  },
];
