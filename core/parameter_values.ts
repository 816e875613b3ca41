/**
 * The values of all parameters. A request is laid over the present ones and the whole is judged, so a complaint may name a
 * parameter that was not touched. Source: QEMU migration/options.c (migrate_params_check, migrate_params_test_apply).
 * @module
 */
import { CommandError } from "../stream/errors.ts";
import type { Parameter, ParameterRule } from "./plugin.ts";

/** Current values by QMP name. */
export class ParameterValues {
  readonly #values = new Map<string, unknown>();
  readonly #checks: readonly {
    order: number;
    run(next: Map<string, unknown>, on: (name: string) => boolean): string | undefined;
  }[];

  constructor(parameters: readonly Parameter[], rules: readonly ParameterRule[]) {
    for (const { name, default: value } of parameters) if (value !== undefined) this.#values.set(name, value);
    const ranges = parameters.filter((parameter) => parameter.check).map(({ name, check, order }) => ({
      order: order ?? Infinity,
      run: (next: Map<string, unknown>) => check!(next.get(name) as never, (other) => next.get(other)),
    }));
    const cross = rules.map(({ order, check }) => ({
      order,
      run: (next: Map<string, unknown>, on: (name: string) => boolean) =>
        check({ on, value: (name) => next.get(name), inForce: (name) => this.#values.get(name) }),
    }));
    this.#checks = [...ranges, ...cross].sort((a, b) => a.order - b.order);
  }

  /** The value in force; undefined for one that was never set and has no default. */
  get(name: string): unknown {
    return this.#values.get(name);
  }

  /**
   * Apply values whose types were checked; null stands for an empty string.
   * @param on is the capability on?
   * @throws {CommandError} the first failing check; nothing is changed then
   */
  apply(changes: Readonly<Record<string, unknown>>, on: (capability: string) => boolean): void {
    const next = new Map(this.#values);
    for (const [name, value] of Object.entries(changes)) next.set(name, value === null ? "" : value);
    for (const { run } of this.#checks) {
      const refusal = run(next, on);
      if (refusal !== undefined) throw new CommandError(refusal);
    }
    for (const name of Object.keys(changes)) this.#values.set(name, next.get(name));
  }

  /** Set without checks: defaults of older machines. */
  preset(name: string, value: unknown): void {
    this.#values.set(name, value);
  }
}
