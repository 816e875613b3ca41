/**
 * What is a byte of a saved machine, and where is a byte of its RAM?
 *
 *     deno run -A examples/explain_bytes.ts vm.sav              how the stream begins
 *     deno run -A examples/explain_bytes.ts vm.sav 0x100000     what is there
 *     deno run -A examples/explain_bytes.ts vm.sav pc.ram 4096  what holds that page
 */
import { explainImage, type ExplainOptions, explainText } from "../mod.ts";

const [path = "/tmp/vm.sav", where, offset] = Deno.args;

const options: ExplainOptions = where === undefined
  ? { limit: 12 }
  : offset === undefined
  ? { at: Number(where), limit: 1 }
  : { page: { block: where, offset: Number(offset) } };

for await (const line of explainImage(path, { ...options, pages: "runs" })) console.log(explainText(line));
