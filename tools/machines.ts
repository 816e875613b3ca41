/**
 * Running QEMUs: saved, loaded, moved, and their migrations recorded.
 * @module
 */
import type { Paired } from "../core/pair_job.ts";
import type { PairRequest } from "../repl/commands/pair.ts";
import type { Record, Replay } from "../repl/commands/record.ts";
import type { Machine } from "../repl/commands/save.ts";
import { textFile } from "./text_file.ts";
import { sizeOf } from "./words.ts";

/** A running QEMU, for jobs. */
export async function attach(address: string): Promise<Machine> {
  const { Workbench } = await import("../mod.ts");
  const bench = await Workbench.open({ qmp: address });
  return {
    save: async (path, { offset, maxBandwidth, xml, ...request }) =>
      await bench.save(path, {
        ...request,
        offset: await sizeOf(offset),
        maxBandwidth: await sizeOf(maxBandwidth),
        xml: xml === undefined ? undefined : await textFile(xml),
      }),
    restore: async (path, { offset, ...request }) =>
      await bench.restore(path, { ...request, offset: await sizeOf(offset) }),
    [Symbol.asyncDispose]: () => bench[Symbol.asyncDispose](),
  };
}

/** One running QEMU moved into another. */
export async function pair(
  { src, dst, channels, compression, maxBandwidth, ...options }: PairRequest,
): Promise<Paired> {
  const { pairMachines, Workbench } = await import("../mod.ts");
  await using source = await Workbench.open({ qmp: src });
  await using destination = await Workbench.open({ qmp: dst });
  return await pairMachines(source, destination, {
    ...options,
    capabilities: channels === undefined && compression === undefined ? {} : { multifd: true },
    parameters: {
      ...(channels === undefined ? {} : { "multifd-channels": channels }),
      ...(compression === undefined ? {} : { "multifd-compression": compression }),
      ...(maxBandwidth === undefined ? {} : { "max-bandwidth": await sizeOf(maxBandwidth) }),
    },
  });
}

/** A live migration passed on and kept. */
export const record: Record = async (options) => {
  const { DEFAULT_TRANSPORTS, recordMigration } = await import("../mod.ts");
  return await recordMigration({ transports: DEFAULT_TRANSPORTS, ...options });
};

/** A kept migration sent again. */
export const replay: Replay = async (options) => {
  const { DEFAULT_TRANSPORTS, replayMigration } = await import("../mod.ts");
  return await replayMigration({ transports: DEFAULT_TRANSPORTS, ...options });
};
