/**
 * Sentences of QEMU about commands, postcopy, further channels, capabilities and files, and what each means. See why_rules.ts.
 *
 * Source of the sentences: QEMU 10.0 migration/savevm.c (loadvm_process_command), postcopy-ram.c, multifd.c, options.c
 * (migrate_caps_check), migration.c, file.c.
 * @module
 */
import type { WhyFacts, WhyPlace } from "./why_facts.ts";
import type { WhyRule } from "./why_rules.ts";

const DAMAGED = "miglab verify tells where the file is damaged; miglab salvage what it still holds";
const SAME_CAPABILITIES = "set the same capabilities on both sides before the migration begins";

/** A command of that number. */
const command = (number: number) => (_: RegExpExecArray, facts: WhyFacts): WhyPlace | undefined =>
  facts.line(/^commands\[\d+\]\.command$/, number);

/** A field of a channel's first message or packet. */
const inChannel = (offset: number, field: string) => (match: RegExpExecArray): WhyPlace => ({
  channel: `multifd ${match.groups?.channel ?? match[1]}`,
  offset,
  path: `init.${field}`,
});

/** Rows about COMMAND records and postcopy. */
export const COMMAND_RULES: readonly WhyRule[] = [
  {
    pattern: /^MIG_CMD 0x([0-9a-f]+) unknown \(len 0x([0-9a-f]+)\)$/,
    cause: "a command 0x$1 that this QEMU does not know: the source is newer, or the stream is damaged",
    advice: "use a QEMU at least as new as the source; " + DAMAGED,
  },
  {
    pattern: /^(\S+) received with bad length - expecting (\d+), got (\d+)$/,
    cause: "command $1 has $3 bytes instead of $2",
    advice: DAMAGED,
  },
  {
    pattern: /^CMD_PING \((0x[0-9a-f]+)\) received with no return path$/,
    cause: "the stream pings and never opened a return path",
    advice: "it is a recording of one direction of a live migration, or was changed by a tool: " + DAMAGED,
    find: command(2),
  },
  {
    pattern: /^CMD_OPEN_RETURN_PATH called when RP already open$/,
    cause: "a notice: the return path is opened twice",
    advice: "nothing",
    find: command(1),
  },
  {
    pattern: /^RAM postcopy is disabled but have 16 byte advise$/,
    cause: "the source has postcopy-ram on, the destination off",
    advice: "migrate_set_capability postcopy-ram on at the destination",
    find: command(3),
  },
  {
    pattern: /^RAM postcopy is enabled but have 0 byte advise$/,
    cause: "the destination has postcopy-ram on, the source off",
    advice: "migrate_set_capability postcopy-ram off at the destination",
    find: command(3),
  },
  {
    pattern: /^Postcopy needs matching (RAM|target) page sizes \(s=([0-9a-f]+) d=([0-9a-f]+)\)$/,
    cause: "$1 page sizes differ: $2 at the source, $3 here (RAM: all sizes ORed, hexadecimal)",
    advice: "back the memory with pages of one size on both sides",
    find: command(3),
  },
  {
    pattern: /^CMD_POSTCOPY_ADVISE invalid length \((\d+)\)$/,
    cause: "POSTCOPY_ADVISE has $1 bytes instead of 16 or none",
    advice: DAMAGED,
    find: command(3),
  },
  {
    pattern: /^CMD_POSTCOPY_(ADVISE|LISTEN|RUN|RAM_DISCARD) in wrong postcopy state \((\d)\)$/,
    cause: "$1 comes where it may not (state $2 of 0 none, 1 advised, 2 discarding, 3 listening, 4 running)",
    advice: "a recording that lacks its beginning, or a stream put together wrongly: " + DAMAGED,
    find: (match, facts) => {
      const numbers: Record<string, number> = { ADVISE: 3, LISTEN: 4, RUN: 5, RAM_DISCARD: 6 };
      return facts.line(/^commands\[\d+\]\.command$/, numbers[match[1]]);
    },
  },
  {
    pattern:
      /^CMD_POSTCOPY_RAM_DISCARD (invalid length|invalid version|missing nil|Failed to read RAMBlock ID)( \(-?\d+\))?/,
    cause: "RAM_DISCARD is malformed: $1$2",
    advice: DAMAGED,
    find: command(6),
  },
  {
    pattern: /^ram_discard_range: Failed to find block '(.*)'$/,
    cause: "pages of a block $1 are to be forgotten, which the destination has not",
    advice: "give the destination the memory of the source",
    find: (match, facts) => facts.line(/^commands\[\d+\]\.block$/, match[1]),
  },
  {
    pattern: /^ram_block_discard_range: (Overrun block '(.*)'|Unaligned start address).*$/,
    cause: "a range that is to be forgotten does not fit the destination's block",
    advice: "give the destination the memory of the source, on pages of the same size",
    find: command(6),
  },
  {
    pattern: /^CMD_PACKAGED: Buffer receive fail ret=(-?\d+) length=(\d+)$/,
    cause: "a package of $2 bytes is announced and $1 came",
    advice: "the stream ends in it, or its length is damaged: " + DAMAGED,
    find: (_, facts) => facts.line(/^commands\[\d+\]\.bytes$/),
  },
  {
    pattern: /^ENABLE_COLO command come in migration stream, but x-colo capability is not set$/,
    cause: "the source checkpoints (x-colo), the destination does not",
    advice: SAME_CAPABILITIES,
    find: command(8),
  },
  {
    pattern: /^loadvm_postcopy_handle_resume: illegal resume received$/,
    cause: "a notice: POSTCOPY_RESUME outside of a recovery",
    advice: "nothing",
    find: command(9),
  },
  {
    pattern:
      /^loadvm_handle_recv_bitmap: (failed to read block name|block '(.*)' not found|invalid payload length \((\d+)\))$/,
    cause: "RECV_BITMAP asks for a block that is not there: $1",
    advice: "recovery must go on with the same guest",
    find: command(10),
  },
  {
    pattern: /^migrate_send_rp_recv_bitmap: MSG_RP_RECV_BITMAP only used for recovery$/,
    cause: "a notice: RECV_BITMAP outside of a recovery",
    advice: "nothing",
    find: command(10),
  },
  {
    pattern: /^Detected IO failure for postcopy\. Migration paused\.$/,
    cause: "the connection broke while the guest was running here on pages it still lacks",
    advice: "migrate_recover here, then migrate -r at the source; the guest is not lost while both are alive",
  },
  {
    pattern: /^(?:postcopy_ram_listen_thread: loadvm failed|uffd_(?:copy|zero)_page\(\) failed).*$/,
    cause: "pages could not be placed while the guest waited for them: the stream ended, or a page came twice",
    advice: "start again from the source; " + DAMAGED,
  },
  {
    pattern: /^Non-same host page detected on channel (\d+)/,
    cause: "pages of one huge page came on different channels or mixed with others",
    advice: "a source that is no QEMU, or a recording put together wrongly",
  },
];

/** Rows about multifd, capabilities and files. */
export const CHANNEL_RULES: readonly WhyRule[] = [
  {
    pattern: /multifd channel (?<channel>\d+): multifd: received packet magic (\S+),? expected (\S+)$/,
    cause:
      "multifd channel $1 begins with $2: something else connected, or one side has multifd or TLS and the other not",
    advice: SAME_CAPABILITIES,
    find: inChannel(0, "magic"),
  },
  {
    pattern: /multifd channel (?<channel>\d+): multifd: received packet version (\d+),? expected (\d+)$/,
    cause: "multifd channel $1 is of version $2",
    advice: "use QEMUs of nearer versions",
    find: inChannel(4, "version"),
  },
  {
    pattern:
      /multifd channel \d+: multifd: received uuid '(\S+)' and expected uuid '(\S+)' for channel (?<channel>\d+)$/,
    cause: "multifd channel $3 is of guest $1, not $2",
    advice: "two migrations met at one address: use another one",
    find: inChannel(8, "uuid"),
  },
  {
    pattern:
      /multifd channel (?<channel>\d+): multifd: received channel id (\d+) is greater than number of channels (\d+)$/,
    cause: "channel number $2 of $3: the source has more channels, or its message is damaged",
    advice: "set multifd-channels alike on both sides",
    find: inChannel(24, "id"),
  },
  {
    pattern: /^multifd: received id '(\d+)' already setup'?$/,
    cause: "two channels call themselves number $1",
    advice: "two migrations met at one address: use another one",
    find: inChannel(24, "id"),
  },
  {
    pattern: /multifd: received packet magic (\S+),? expected (\S+)$/,
    cause:
      "a multifd packet does not begin with its magic: the packet before it had another length, or the data is damaged",
    advice: SAME_CAPABILITIES + "; multifd-compression too",
  },
  {
    pattern: /multifd: received packet with (\d+) (pages|non-zero pages|zero pages),.*$/,
    cause: "a multifd packet says $1 $2, more than fit",
    advice: "one page size on both sides; else the data is damaged",
  },
  {
    pattern: /multifd: unknown ram block (.+)$/,
    cause: "a multifd packet is for block $1, which the destination has not",
    advice: "give the destination the memory of the source",
    find: (match, facts) => facts.inBlock(match[1], "idstr"),
  },
  {
    pattern: /multifd: offset too long (\d+) \(max ([0-9a-f]+)\)$/,
    cause: "a multifd packet holds page $1, behind the end of its block",
    advice: "give the destination the memory of the source",
  },
  {
    pattern: /multifd (\d+): flags received ([0-9a-f]+) flags expected ([0-9a-f]+)$/,
    cause: "channel $1 is compressed in another way ($2, here $3; 0 none, 2 zlib, 4 zstd)",
    advice: "set multifd-compression alike on both sides",
  },
  {
    pattern: /multifd (\d+): (inflate|decompressStream|packet size).*$/,
    cause: "compressed pages of channel $1 do not unpack: the data is damaged",
    advice: "start the migration again",
  },
  {
    pattern: /^(?:multifd: unexpected EOF after packet header|Unexpected end-of-file before all data were read)$/,
    cause: "a multifd channel ended inside a packet",
    advice: "the source died or the connection broke: look at its messages",
  },
  {
    pattern: /^Extra incoming migration connection; ignoring$/,
    cause: "more connections came than multifd-channels says",
    advice: "set multifd-channels alike on both sides",
  },
  {
    pattern:
      /^(Background-snapshot|Postcopy|Postcopy preempt|Multifd|Mapped-ram migration) (?:is (?:not (?:yet )?compatible|incompatible) with|requires) (.+)$/,
    cause: "a rule among capabilities: $1 and $2",
    advice: "switch one of them off (or on, where it is required) before the migration",
  },
  {
    pattern:
      /^(?:Capability '(\S+)' requires capability '(\S+)'|(?:dirty-limit|Zero copy only available|Mapped-ram only available) .*|Cannot use (?:TLS|compression) with mapped-ram|(?:Multifd|Postcopy preempt) must be set before incoming starts)$/,
    cause: "a rule among capabilities and parameters, nothing in the file",
    advice: "change the setting the sentence names; multifd and postcopy-preempt before migrate_incoming",
  },
  {
    pattern:
      /^(?:Postcopy is not supported: .*|Background-snapshot is not (?:supported by host kernel|compatible with guest memory configuration))$/,
    cause: "the host lacks what it takes (userfaultfd), or the guest's memory is of a kind that cannot be watched",
    advice: "sysctl vm.unprivileged_userfaultfd=1, or ordinary memory backends",
  },
  {
    pattern: /^There's a migration process in progress$/,
    cause: "something about another migration is still under way",
    advice: "wait for it, or migrate_cancel",
  },
  {
    pattern: /^Migration requires seekable transport \(e\.g\. file\)$/,
    cause: "mapped-ram is on and the address is not a file",
    advice: "use file:PATH, or switch mapped-ram off",
    find: (_, facts) => facts.line(/^configuration\.subsections\[\d+\]\.capabilities\[\d+\]$/, "mapped-ram"),
  },
  {
    pattern: /^Migration requires multi-channel URIs \(e\.g\. tcp\)$/,
    cause: "multifd is on and the address takes one channel only",
    advice: "use tcp:, unix: or file: with mapped-ram, or switch multifd off",
  },
  {
    pattern: /^(?:Could not open|Failed to open file) '(.*)'(?:: (.*))?$/,
    cause: "the file cannot be opened: $2",
    advice: "path and permissions of the process that runs QEMU",
  },
  {
    pattern: /^file URI has bad offset (.*?)(?:: .*)?$/,
    cause: "offset=$1 is no number",
    advice: "a decimal or hexadecimal number of bytes, with a suffix such as K",
  },
  {
    pattern: /^Unable to (?:read from|write to) (?:file|socket): (.*)$/,
    cause: "the system says: $1; with return-path or postcopy-ram on a file this is because files have no way back",
    advice: "switch return-path and postcopy-ram off for files; else look at disk space and the other side",
  },
  {
    pattern: /^Unable to (?:read from|write to) command: (.*)$/,
    cause: "the program of exec: ended, or closed its end of the pipe ($1)",
    advice: "run it by hand: its own messages say why; with exec: QEMU does not look at its exit status",
  },
  {
    pattern: /^(?:The incoming migration has already been started|'-incoming' was not specified on the command line)$/,
    cause: "this QEMU does not wait for a migration: one has begun, or it was started without -incoming defer",
    advice: "start another QEMU with -incoming defer and give it migrate_incoming once",
  },
  {
    pattern: /^Sibling indicated error (\d+)$/,
    cause: "the destination failed",
    advice: "its messages say why",
  },
  {
    pattern: /^GLib.*failed to allocate (\d+) bytes/,
    cause: "a length in the stream is damaged, and QEMU believed it",
    advice: DAMAGED,
    find: (_, facts) => facts.line(/^configuration\.length$/),
  },
];
