/**
 * Capabilities and parameters set for one job and put back behind it, whoever owns them.
 * @module
 */
import { CommandError, TransportError } from "../stream/errors.ts";
import type { AssembledWorkbench } from "./workbench.ts";

/** What a job needs. */
export interface WantedSettings {
  /** Others stay as they are. */
  readonly capabilities: Readonly<Record<string, boolean>>;
  /** Others stay as they are. */
  readonly parameters: Readonly<Record<string, unknown>>;
}

/** Settings that were changed for a job. */
export class SettingsGuard {
  readonly #bench: AssembledWorkbench;
  /** As they were; filled as they are changed. */
  #capabilities: { capability: string; state: boolean }[] = [];
  #parameters: Record<string, unknown> = {};
  #restored = false;

  private constructor(bench: AssembledWorkbench) {
    this.#bench = bench;
  }

  /**
   * Set what is wanted. Names the machine does not know are left out where they were to be off.
   * @throws {CommandError} when it lacks one that is needed, or a rule forbids it; everything is as before then
   */
  static async set(bench: AssembledWorkbench, wanted: WantedSettings): Promise<SettingsGuard> {
    const now = await bench.qmp("query-migrate-capabilities") as { capability: string; state: boolean }[];
    const values = await bench.qmp("query-migrate-parameters") as Record<string, unknown>;
    const is = new Map(now.map(({ capability, state }) => [capability, state]));
    const missing = Object.entries(wanted.capabilities).find(([name, state]) => state && !is.has(name));
    if (missing) throw new CommandError(`This QEMU has no capability ${missing[0]}`);
    const parameters = Object.entries(wanted.parameters).filter(([name, value]) => !same(values[name], value));
    const unknown = parameters.find(([name]) => !(name in values));
    if (unknown) throw new CommandError(`This QEMU has no parameter ${unknown[0]}`);
    const capabilities = Object.entries(wanted.capabilities).filter(([name, state]) =>
      is.has(name) && is.get(name) !== state
    );
    const guard = new SettingsGuard(bench);
    try {
      // off before on: what excludes each other is never on together
      const changes = capabilities.map(([capability, state]) => ({ capability, state }));
      if (changes.length > 0) await bench.qmp("migrate-set-capabilities", { capabilities: changes });
      guard.#capabilities = changes.map(({ capability, state }) => ({ capability, state: !state }));
      if (parameters.length > 0) await bench.qmp("migrate-set-parameters", Object.fromEntries(parameters));
      guard.#parameters = Object.fromEntries(parameters.map(([name]) => [name, values[name]]));
    } catch (error) {
      await guard.restore(error as Error);
      throw error;
    }
    return guard;
  }

  /**
   * Put everything back, once. A machine that is gone needs nothing.
   * @param failure of the job, to which a refusal is added
   * @throws {CommandError} what the machine has against it, when the job itself did not fail
   */
  async restore(failure?: Error): Promise<void> {
    if (this.#restored) return;
    this.#restored = true;
    const back: [name: string, args: Record<string, unknown>, any: boolean][] = [
      ["migrate-set-parameters", this.#parameters, Object.keys(this.#parameters).length > 0],
      ["migrate-set-capabilities", { capabilities: this.#capabilities }, this.#capabilities.length > 0],
    ];
    const refusals: string[] = [];
    for (const [name, args, any] of back) {
      try {
        if (any) await this.#bench.qmp(name, args);
      } catch (error) {
        if (!(error instanceof TransportError)) refusals.push((error as Error).message);
      }
    }
    if (refusals.length === 0) return;
    const text = `settings of the machine are not put back: ${refusals.join("; ")}`;
    if (!failure) throw new CommandError(text);
    failure.message += `; ${text}`;
  }
}

function same(a: unknown, b: unknown): boolean {
  return typeof a === "object" ? JSON.stringify(a) === JSON.stringify(b) : a === b;
}
