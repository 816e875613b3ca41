/**
 * Our side of migrations, in processes of their own: a source that lives through all saves, and a destination for each load.
 * @module
 */
import { type Bench, here, type Settings } from "./context.ts";
import { runProcess } from "./measure.ts";

function words({ capabilities, parameters = {} }: Settings): string[] {
  return [
    ...capabilities,
    ...Object.entries(parameters).map(([name, value]) => `${name}=${value === true ? "on" : value}`),
  ];
}

/** Milliseconds in which a new process of ours loads a file. */
export async function ourLoad(path: string, settings: Settings): Promise<number> {
  const args = ["run", "-A", here("ours.ts"), "load", `file:${path}`, ...words(settings)];
  return Number((await runProcess(Deno.execPath(), args)).stdout);
}

/** Our source. */
export class Source implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #lines: AsyncIterator<string>;

  constructor({ ram, data }: Pick<Bench, "ram" | "data">) {
    this.#child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", here("ours.ts"), "save", ram, data === "0" ? "zero" : `random:bytes=${data}`],
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    this.#writer = this.#child.stdin.getWriter();
    this.#lines = lines(this.#child.stdout);
  }

  /** Its guest is filled. */
  async ready(): Promise<void> {
    await this.#next();
  }

  /** Save. @returns milliseconds */
  async save(uri: string, settings: Settings): Promise<number> {
    await this.#writer.write(new TextEncoder().encode([uri, ...words(settings)].join(" ") + "\n"));
    return Number(await this.#next());
  }

  async #next(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error("our source ended early");
    return value;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer.close().catch(() => {}); // it has ended already
    await this.#child.status;
  }
}

async function* lines(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let text = "";
  for await (const chunk of stream.pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>)) {
    const parts = (text + chunk).split("\n");
    text = parts.pop()!;
    yield* parts;
  }
}
