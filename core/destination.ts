/**
 * A machine that is to take a guest: whether it still can, and whether two machines are of a kind. Asked before anything is
 * touched; what only a load shows is left to the load.
 * @module
 */
import { CommandError } from "../stream/errors.ts";
import type { MigrationInfo } from "./migration_info.ts";
import type { AssembledWorkbench } from "./workbench.ts";

/** ms a destination has to notice that its source is gone. */
const NOTICE_MS = 2000;
const MIB = 1 << 20;

/**
 * The machine waits for a guest and for nothing else yet.
 * @param words how a refusal begins, and whom it speaks of: "Cannot restore: the machine"
 * @throws {CommandError} when it does not, and what to do
 */
export async function checkWaits(bench: AssembledWorkbench, words: string): Promise<void> {
  const { status } = await bench.qmp("query-status") as { status: string };
  if (status !== "inmigrate") throw new CommandError(`${words} is ${status}; start it with -incoming defer`);
  const { status: incoming, "error-desc": why } = await bench.qmp("query-migrate") as MigrationInfo;
  if (incoming === "failed") {
    throw new CommandError(`${words} has failed to load before (${why ?? "it does not say why"}); start it anew`);
  }
  if (incoming !== undefined && incoming !== "none") {
    throw new CommandError(`${words} waits at an address of its own; start it with -incoming defer`);
  }
}

/**
 * Both machines are of one type and have as much memory.
 * @param words as above: "Cannot pair: the source"
 * @throws {CommandError} how they differ
 */
export async function checkAlike(source: AssembledWorkbench, destination: AssembledWorkbench, words: string) {
  const ends = [source, destination];
  const [here, there] = ends.map(({ session }) => session.guest.configuration.machine);
  if (here !== there && here !== "" && there !== "") {
    throw new CommandError(`${words} is a ${here} and the destination a ${there}`);
  }
  const [mine, other] = await Promise.all(ends.map(baseMemory));
  if (mine !== other && mine !== undefined && other !== undefined) {
    throw new CommandError(`${words} has ${mine / MIB} MiB of RAM and the destination ${other / MIB} MiB`);
  }
}

/** Bytes of RAM a machine was started with; undefined when it does not tell. */
async function baseMemory(bench: AssembledWorkbench): Promise<number | undefined> {
  try {
    return (await bench.qmp("query-memory-size-summary") as { "base-memory": number })["base-memory"];
  } catch (error) {
    if (error instanceof CommandError) return undefined;
    throw error;
  }
}

/** What a destination has to say about a migration that failed: its own reason, or that it is gone. */
export async function lastWords(destination: AssembledWorkbench): Promise<string | undefined> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<void>((resolve) => timer = setTimeout(resolve, NOTICE_MS));
  await Promise.race([destination.settled(), late]);
  clearTimeout(timer);
  try {
    const { "error-desc": why } = await destination.qmp("query-migrate") as MigrationInfo;
    return why && `the destination says: ${why}`;
  } catch {
    return "the destination is gone";
  }
}
