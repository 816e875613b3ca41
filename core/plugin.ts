/**
 * What a plugin may bring. A plugin is data: a frozen object of tables, merged by {@link combine} (registry.ts), which
 * refuses two owners of one name or wire code and names both. Order never matters.
 *
 * If `migrate_set_capability` or a migration parameter turns it on, it is a plugin, and its file bears that name.
 * @module
 */
import type { Guest } from "../guest/guest.ts";
import type { RamBlock } from "../guest/memory.ts";
import type { Tables } from "../stream/tables.ts";
import type { StreamWriter } from "../stream/writer.ts";
import type { Channel } from "./transport.ts";
import type { Command } from "./command.ts";

export type { RamCodec, SectionCodec, Tables } from "../stream/tables.ts";

/** What a rule may look at: the set that would result from the request, and its surroundings. */
export interface RuleContext {
  /** Is the capability on in the resulting set? */
  on(capability: string): boolean;
  /** Was it on before the request? */
  was(capability: string): boolean;
  /** A migration parameter's value now in force, by QMP name. */
  parameter(name: string): unknown;
  /** This process is a destination that waits for `migrate_incoming`. */
  readonly incoming: boolean;
  /** A listening socket for an incoming migration exists. */
  readonly listening: boolean;
  /** "tcg" or "kvm", as the workbench was told to behave. */
  readonly accelerator: "tcg" | "kvm";
  /** KVM runs with `dirty-ring-size`. */
  readonly dirtyRing: boolean;
  /** What the host cannot do; absent: it can do everything. */
  readonly host?: HostLimits;
}

/** What a host may lack. A model guest lacks nothing unless told so. */
export interface HostLimits {
  /** QEMU was built without replication: no COLO. */
  readonly noReplication?: boolean;
  /** Why userfaultfd does not work: no postcopy on this destination. */
  readonly noUserfaultfd?: string;
  /** No write-protect userfaultfd: no background snapshot. */
  readonly noWriteProtect?: boolean;
  /** Guest memory cannot be write-tracked (huge pages): no background snapshot. */
  readonly untrackableMemory?: boolean;
}

/** One check, tried in the order of `order` (QEMU: migration/options.c migrate_caps_check). */
export interface CapabilityRule {
  /** Position among all rules; QEMU's run from 0 to 17 (spec of the order: see capabilities in README). A user's rules come later. */
  readonly order: number;
  /** @returns QEMU's sentence (with hint lines after a line feed) when the set is refused, undefined when it may pass */
  /** Judge a set. */
  check(context: RuleContext): string | undefined;
  /** A warning each time the rule's condition holds, instead of a refusal. */
  warn?(context: RuleContext): string | undefined;
}

/** A named switch. */
export interface Capability {
  /** QEMU's spelling, hyphens: "mapped-ram". */
  readonly name: string;
  /** Place in QEMU's enum, 0-based; a user's capability has none and is listed after. */
  readonly ordinal?: number;
  /** One line: what it is for. */
  readonly help: string;
  /** First QEMU release that had it. */
  readonly since?: string;
  /** Its conflicts and needs; tried among all rules by their order. */
  readonly rules?: readonly CapabilityRule[];
  /** Written into the stream's configuration and compared on load (QEMU: should_validate_capability). */
  readonly validated?: boolean;
}

/** A range of target pages of one block, the unit in which RAM moves. */
export interface PageRange {
  /** The block whose pages these are. */
  readonly block: RamBlock;
  /** Byte offset of the first page in the block. */
  readonly offset: number;
  /** Bytes, a multiple of the target page size (the last range of a block may be shorter than a slot). */
  readonly length: number;
}

/** Counters a save keeps; `info migrate` shows them. Bytes and pages. */
export interface RamCounters {
  /** Bytes on their way through all channels, headers and device state included. */
  transferred: number;
  /** Zero pages. */
  duplicate: number;
  /** Pages sent as data. */
  normal: number;
  /** Bytes of RAM sent while the guest ran. */
  precopyBytes: number;
  /** Bytes of RAM sent while it stood still. */
  downtimeBytes: number;
  /** Bytes of RAM sent after the switch to postcopy. */
  postcopyBytes: number;
  /** Bytes that went through multifd channels. */
  multifdBytes: number;
  /** Dirty bitmap syncs so far: the passes. */
  dirtySyncCount: number;
  /** Bytes of RAM not looked at yet in this pass. */
  remaining: number;
  /** What went through each further channel, by its number. */
  channels?: readonly ChannelCounters[];
}

/** Counters of a migration that has not begun. */
export function newRamCounters(): RamCounters {
  return {
    transferred: 0,
    duplicate: 0,
    normal: 0,
    precopyBytes: 0,
    downtimeBytes: 0,
    postcopyBytes: 0,
    multifdBytes: 0,
    dirtySyncCount: 0,
    remaining: 0,
  };
}

/** Counters of one further channel. */
export interface ChannelCounters {
  /** Bytes on the wire, packet headers included. */
  bytes: number;
  /** Pages sent as data. */
  normal: number;
  /** Pages found to be zero. */
  zero: number;
}

/** What a RAM strategy has at hand while it saves. */
export interface RamSaveContext {
  /** The guest that is saved. */
  readonly guest: Guest;
  /** The main channel. */
  readonly channel: Channel;
  /** Puts bytes into the stream, in order. */
  readonly writer: StreamWriter;
  /** Further channels (multifd), open and in the order of their numbers; they belong to whoever asked for the save. */
  readonly channels: readonly Channel[];
  /** Bytes of a target page. */
  readonly pageSize: number;
  /** Kept true by the strategy: pages by kind. */
  readonly counters: RamCounters;
  /** Codecs by wire code. */
  readonly tables: Partial<Tables>;
  /** Zero pages are recognised (zero-page-detection is not `none`). */
  readonly detectZero: boolean;
  /** Is the capability on? */
  readonly capability: (name: string) => boolean;
  /** Value of a migration parameter, by QMP name. */
  readonly parameter: (name: string) => unknown;
  /** Book bytes of RAM that are on their way: `precopy ram` while the guest runs, else `downtime ram`. */
  readonly sent: (bytes: number) => void;
  /** Book bytes that do not pass the writer (positional writes): part of `transferred ram`. */
  readonly beside: (bytes: number) => void;
}

/** How RAM leaves and enters when a plugin's capability is on. */
export interface RamStrategy {
  /** Capability that selects it. */
  readonly capability: string;
  /** Capability whose strategy goes first when both are on. */
  readonly unless?: string;
  /** The channel must be seekable. */
  readonly needsSeekable?: boolean;
  /** Write what follows a block's name and length in the block list. */
  setupBlock?(context: RamSaveContext, block: RamBlock): void | Promise<void>;
  /** The block list is written, the EOS of the START section is not. */
  setupEnd?(context: RamSaveContext): void | Promise<void>;
  /** A section of ram is written, its footer included. */
  sectionEnd?(context: RamSaveContext): void | Promise<void>;
  /** Write one range (at most a slot, never crossing one). */
  saveRange(context: RamSaveContext, range: PageRange): void | Promise<void>;
  /** All RAM was written: bitmaps and the like, before the EOS of the END section. */
  complete?(context: RamSaveContext): void | Promise<void>;
  /** The save is over, well or not: let go of what the strategy holds. Called once, last. */
  close?(context: RamSaveContext): void | Promise<void>;
}

/** The merged contract of a plugin. Every member but `name` and `help` is optional. */
export interface Plugin {
  /** QEMU's spelling: "mapped-ram". */
  readonly name: string;
  /** One line for `help`. */
  readonly help: string;
  /** Switches it owns. */
  readonly capabilities?: readonly Capability[];
  /** Values it owns. */
  readonly parameters?: readonly Parameter[];
  /** Checks on parameters that look at capabilities. */
  readonly parameterRules?: readonly ParameterRule[];
  /** Chosen when its capability is on. */
  readonly ramStrategy?: RamStrategy;
  /** Codecs for wire codes it owns. */
  readonly tables?: Partial<Tables>;
  /** Commands it adds to the monitor. */
  readonly commands?: readonly Command[];
}

/** Types of a migration parameter; they decide how HMP and QMP read and print it (core/parameters.ts). */
export type ParameterType = "size" | "mib" | "uint8" | "uint32" | "uint64" | "bool" | "string" | "enum" | "list";

/** A named value. */
export interface Parameter {
  /** QMP name, hyphens: "multifd-channels". */
  readonly name: string;
  /** Place in QEMU's enum, 0-based; a user's parameter has none and is listed after. */
  readonly ordinal?: number;
  /** One line: what it is for. */
  readonly help: string;
  /** How it is read and printed. */
  readonly type: ParameterType;
  /** Value at start. */
  readonly default: unknown;
  /** Values of an enum. */
  readonly values?: readonly string[];
  /** Unit in `info migrate_parameters`: "ms", "bytes/second". */
  readonly unit?: string;
  /** Not shown by `info migrate_parameters`. */
  readonly hidden?: boolean;
  /** Range check of the resulting value, in the order of `order`: QEMU's sentence, or undefined. */
  readonly check?: (value: never, all: (name: string) => unknown) => string | undefined;
  /** Place of `check` among all checks of parameters. */
  readonly order?: number;
}

/** What a {@link ParameterRule} may look at. */
export interface ParameterRuleContext {
  /** Is the capability on? */
  on(capability: string): boolean;
  /** The value that would result from the request. */
  value(parameter: string): unknown;
  /** The value before the request. */
  inForce(parameter: string): unknown;
}

/** A check on the resulting parameters, tried among the range checks in the order of `order` (QEMU: migrate_params_check). */
export interface ParameterRule {
  /** Place among the rules that look at several parameters. */
  readonly order: number;
  /** @returns QEMU's sentence, or undefined */
  /** QEMU's sentence when the values do not go together, undefined when they may. */
  check(context: ParameterRuleContext): string | undefined;
}
