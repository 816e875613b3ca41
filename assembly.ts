/**
 * What a workbench of this program is put together from. It is apart from mod.ts, and looks into files only when it is asked
 * to, so that a prompt need not wait for the reports.
 * @module
 */
import { readFileSync } from "node:fs";
import { importPlugin } from "./core/plugin_module.ts";
import type { Transport } from "./core/transport.ts";
import type { Assembly, SavedPlace, SavedStream } from "./core/workbench_options.ts";
import { bufferTransport } from "./transports/buffer.ts";
import { execTransport } from "./transports/exec.ts";
import { fdTransport } from "./transports/fd.ts";
import { fileTransport } from "./transports/file.ts";
import { rdmaTransport } from "./transports/rdma.ts";
import { tcpTransport } from "./transports/tcp.ts";
import { unixTransport } from "./transports/unix.ts";
import { vsockTransport } from "./transports/vsock.ts";
import { DEFAULT_PLUGINS } from "./wiring.ts";

/** Transports every workbench has. */
export const DEFAULT_TRANSPORTS: readonly Transport[] = Object.freeze([
  fileTransport,
  execTransport,
  fdTransport,
  unixTransport,
  tcpTransport,
  vsockTransport,
  rdmaTransport,
  bufferTransport,
]);

/** The stream of a saved guest; several channels as one. */
async function findSaved(path: string, place: SavedPlace): Promise<SavedStream> {
  if (!place.channels?.length) {
    const { findStream } = await import("./containers/find_stream.ts");
    return await findStream(path, place);
  }
  const [{ joinChannels }, { combine }] = await Promise.all([
    import("./reports/joined_stream.ts"),
    import("./core/registry.ts"),
  ]);
  return await joinChannels(path, { ...place, tables: combine(DEFAULT_PLUGINS).tables });
}

/** What `inspect` shows at the prompt of a script's workbench. */
async function inspectFile(path: string): Promise<string> {
  const [{ openImage }, { inspectImage }, { inspectText }, { combine }] = await Promise.all([
    import("./containers/image.ts"),
    import("./reports/inspect.ts"),
    import("./reports/inspect_text.ts"),
    import("./core/registry.ts"),
  ]);
  await using image = await openImage(path, { tables: combine(DEFAULT_PLUGINS).tables });
  return inspectText(image, await inspectImage(image));
}

/** What a workbench is opened with. */
export const DEFAULT_ASSEMBLY: Assembly = Object.freeze<Assembly>({
  plugins: DEFAULT_PLUGINS,
  transports: DEFAULT_TRANSPORTS,
  importPlugin,
  readFile: (path) => readFileSync(path),
  findStream: findSaved,
  inspect: inspectFile,
});
