/**
 * QEMU's own Tab key: its human monitor behind a socket, with a person at it.
 * @module
 */
import assert from "node:assert/strict";

/** Typed behind Tab: when its echo is there, so is everything Tab has brought. */
const MARK = "~";
const PATIENCE_MS = 15_000;

/** A human monitor made by `-monitor unix:PATH,server=on,wait=off`. */
export class HumanMonitor implements AsyncDisposable {
  readonly #conn: Deno.Conn;
  readonly #reading: Promise<void>;
  #text = "";
  #changed = Promise.withResolvers<void>();

  private constructor(conn: Deno.Conn) {
    this.#conn = conn;
    this.#reading = this.#read();
  }

  /** Connect, and wait for the prompt. */
  static async open(path: string): Promise<HumanMonitor> {
    const monitor = new HumanMonitor(await Deno.connect({ transport: "unix", path }));
    await monitor.#until((text) => text.endsWith("(qemu) "));
    return monitor;
  }

  /** Press Tab behind a line. @returns the words it lists, sorted, if it does; and the line as it is then */
  async tab(line: string): Promise<{ readonly listed?: readonly string[]; readonly line: string }> {
    this.#text = "";
    await this.#type(line);
    await this.#until((text) => shown(text).at(-1) === line);
    this.#text = "";
    await this.#type("\t" + MARK);
    const text = await this.#until((text) => shown(text).at(-1)?.endsWith(MARK) ?? false);
    await this.#type("\x7f".repeat(500));
    await this.#until((text) => shown(text).at(-1) === "");
    const list = /\r\n([^]*)\r\n\(qemu\) /.exec(text)?.[1];
    const listed = list?.split(/\s+/).filter((word) => word !== "").sort();
    return { listed, line: shown(text).at(-1)!.slice(0, -MARK.length) };
  }

  async #type(keys: string): Promise<void> {
    const bytes = new TextEncoder().encode(keys);
    for (let sent = 0; sent < bytes.length;) sent += await this.#conn.write(bytes.subarray(sent));
  }

  async #read(): Promise<void> {
    const decoder = new TextDecoder();
    const buffer = new Uint8Array(64 << 10);
    for (;;) {
      const got = await this.#conn.read(buffer).catch(() => null);
      if (got === null) return;
      this.#text += decoder.decode(buffer.subarray(0, got), { stream: true });
      this.#changed.resolve();
      this.#changed = Promise.withResolvers();
    }
  }

  async #until(there: (text: string) => boolean): Promise<string> {
    const end = performance.now() + PATIENCE_MS;
    while (!there(this.#text)) {
      let timer: ReturnType<typeof setTimeout> | undefined;
      await Promise.race([this.#changed.promise, new Promise((resolve) => timer = setTimeout(resolve, 100))]);
      clearTimeout(timer);
      assert(performance.now() < end, `QEMU's monitor shows only ${JSON.stringify(this.#text.slice(-300))}`);
    }
    return this.#text;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#conn.close();
    await this.#reading;
  }
}

/** The line as it was drawn each time: QEMU goes back to its beginning and draws all of it (util/readline.c). */
function shown(text: string): string[] {
  // deno-lint-ignore no-control-regex -- what a terminal is told
  return text.split("\x1b[K").slice(0, -1).map((drawn) => drawn.replace(/^[^]*(\x1b\[D|\(qemu\) )/, ""));
}
