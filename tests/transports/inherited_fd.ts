/**
 * Program of fd_test.ts: works on descriptors its parent opened.
 *
 *     copy IN OUT    the stream of descriptor IN (or of a file) into descriptor OUT
 *     abort IN OUT   wait for IN, fill OUT, abort both, print what was said
 * @module
 */
import { FdTable, holdNumber } from "../../core/fds.ts";
import { fdTransport } from "../../transports/fd.ts";
import { fileTransport } from "../../transports/file.ts";
import { recordingContext } from "./conformance.ts";

const [action, source, target] = Deno.args;
const fds = new FdTable();
const context = recordingContext(fds);
fds.getfd("out", holdNumber(Number(target)));
const writer = await fdTransport.connect(fdTransport.parse("out"), context);

if (action === "copy") {
  const transport = /^\d+$/.test(source) ? fdTransport : fileTransport;
  const reader = await transport.listen(transport.parse(source), context).accept();
  const view = new Uint8Array(300_000);
  for (let n = await reader.read!(view); n > 0; n = await reader.read!(view)) await writer.write!(view.subarray(0, n));
  await reader.close();
  await writer.close();
} else {
  fds.getfd("in", holdNumber(Number(source)));
  const reader = await fdTransport.connect(fdTransport.parse("in"), context);
  const reading = Promise.resolve(reader.read!(new Uint8Array(10)));
  const writing = Promise.resolve(writer.write!(new Uint8Array(4 << 20)));
  setTimeout(() => {
    reader.abort();
    writer.abort();
  }, 100);
  for (const one of await Promise.allSettled([reading, writing])) {
    console.log(one.status === "rejected" ? one.reason.message : "not woken");
  }
  await reader.close();
  await writer.close();
}
