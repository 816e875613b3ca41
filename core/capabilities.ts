/**
 * Capabilities that no plugin stands behind: switches of the monitor itself, and those whose machinery is elsewhere
 * (RDMA, COLO, block devices). Also the set that holds which are on, with QEMU's rule order.
 *
 * Source: QEMU qapi/migration.json MigrationCapability, migration/options.c (migrate_caps_check).
 * @module
 */
import { CommandError } from "../stream/errors.ts";
import type { Capability, CapabilityRule, RuleContext } from "./plugin.ts";

/** QEMU's capabilities, by their place in the enum. A plugin of yours adds its own by declaration merging. */
export interface CapabilityNames {
  /** Delta-encode pages that were sent before. */
  xbzrle: 0;
  /** RDMA: pin all guest memory at once instead of on demand. */
  "rdma-pin-all": 1;
  /** Slow the guest's CPUs down when dirtying outruns sending. */
  "auto-converge": 2;
  /** Belonged to block migration; has no effect (deprecated). */
  "zero-blocks": 3;
  /** Emit MIGRATION and MIGRATION_PASS events. */
  events: 4;
  /** Start the guest on the destination before all RAM has arrived. */
  "postcopy-ram": 5;
  /** Continuous checkpointing for fault tolerance (unstable). */
  "x-colo": 6;
  /** Free pages on the source once sent, during postcopy. */
  "release-ram": 7;
  /** Use the back channel in precopy too. */
  "return-path": 8;
  /** Stop in status pre-switchover until told to continue. */
  "pause-before-switchover": 9;
  /** Use several channels in parallel. */
  multifd: 10;
  /** Migrate named block dirty bitmaps. */
  "dirty-bitmaps": 11;
  /** Measure how long vCPUs were blocked in postcopy. */
  "postcopy-blocktime": 12;
  /** Destination takes block locks late (always so since 10.0). */
  "late-block-activate": 13;
  /** Leave out memory that is shared and reachable from the destination (unstable). */
  "x-ignore-shared": 14;
  /** Put the machine's UUID into the stream. */
  "validate-uuid": 15;
  /** Save the machine as it was at the start while the guest keeps running. */
  "background-snapshot": 16;
  /** multifd sends pages without copying them. */
  "zero-copy-send": 17;
  /** Use a second channel for urgent postcopy pages. */
  "postcopy-preempt": 18;
  /** Wait for the destination's agreement before stopping the guest. */
  "switchover-ack": 19;
  /** Throttle vCPUs to a dirty page rate. */
  "dirty-limit": 20;
  /** Migrate using fixed offsets in the migration file for each RAM page. */
  "mapped-ram": 21;
}

/** A name `setCapability` accepts. */
export type CapabilityName = keyof CapabilityNames;

/** Capabilities declared here and not in a plugin. */
export const CORE_CAPABILITIES: readonly Capability[] = Object.freeze<Capability[]>([
  { name: "rdma-pin-all", ordinal: 1, help: "RDMA: pin all guest memory at once instead of on demand", since: "2.0" },
  { name: "auto-converge", ordinal: 2, help: "Slow the guest's CPUs down when dirtying outruns sending", since: "1.6" },
  {
    name: "zero-blocks",
    ordinal: 3,
    help: "Belonged to block migration; has no effect (deprecated)",
    since: "1.6",
    rules: [{
      order: 0,
      check: () => undefined,
      warn: ({ on }) => on("zero-blocks") ? "zero-blocks capability is deprecated" : undefined,
    }],
  },
  { name: "events", ordinal: 4, help: "Emit MIGRATION and MIGRATION_PASS events", since: "2.4" },
  {
    name: "x-colo",
    ordinal: 6,
    help: "Continuous checkpointing for fault tolerance (unstable)",
    since: "2.8",
    rules: [{
      order: 1,
      check: ({ on, host }) =>
        on("x-colo") && host?.noReplication
          ? "QEMU compiled without replication module can't enable COLO\nPlease enable replication before COLO."
          : undefined,
    }],
  },
  { name: "release-ram", ordinal: 7, help: "Free pages on the source once sent, during postcopy", since: "2.9" },
  { name: "return-path", ordinal: 8, help: "Use the back channel in precopy too", since: "2.10" },
  {
    name: "pause-before-switchover",
    ordinal: 9,
    help: "Stop in status pre-switchover until told to continue",
    since: "2.11",
  },
  { name: "dirty-bitmaps", ordinal: 11, help: "Migrate named block dirty bitmaps", since: "2.12" },
  { name: "postcopy-blocktime", ordinal: 12, help: "Measure how long vCPUs were blocked in postcopy", since: "3.0" },
  {
    name: "late-block-activate",
    ordinal: 13,
    help: "Destination takes block locks late (always so since 10.0)",
    since: "3.0",
  },
  { name: "validate-uuid", ordinal: 15, help: "Put the machine's UUID into the stream", since: "4.2" },
]);

/** One change of a request. */
export interface CapabilityChange {
  /** Its name. */
  readonly capability: string;
  /** On, or off. */
  readonly state: boolean;
}

/** Which capabilities are on. Changes are all or nothing: the resulting set is judged as a whole. */
export class CapabilitySet {
  readonly #on = new Set<string>();
  readonly #rules: readonly CapabilityRule[];

  /** @param rules in the order they are tried */
  constructor(rules: readonly CapabilityRule[]) {
    this.#rules = rules;
  }

  /** Is it on? */
  on(name: string): boolean {
    return this.#on.has(name);
  }

  /**
   * Apply a request; a later mention of a name wins.
   * @param surroundings what rules may look at beside the set
   * @param warn told each warning, also when the request is then refused
   * @throws {CommandError} the first violated rule; nothing is changed then
   */
  apply(
    changes: readonly CapabilityChange[],
    surroundings: Omit<RuleContext, "on" | "was">,
    warn: (text: string) => void,
  ): void {
    const next = new Set(this.#on);
    for (const { capability, state } of changes) {
      if (state) next.add(capability);
      else next.delete(capability);
    }
    const context: RuleContext = { ...surroundings, on: (name) => next.has(name), was: (name) => this.#on.has(name) };
    for (const rule of this.#rules) {
      const warning = rule.warn?.(context);
      if (warning !== undefined) warn(warning);
      const [refusal, ...hint] = rule.check(context)?.split("\n") ?? [];
      if (refusal !== undefined) throw new CommandError(refusal, hint);
    }
    this.#on.clear();
    for (const name of next) this.#on.add(name);
  }
}
