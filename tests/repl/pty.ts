/**
 * The real console on a real terminal: `script` of util-linux gives it one, the test is the person at the keys.
 * @module
 */
import assert from "node:assert/strict";

/** Longest wait for something to appear, in ms. */
const PATIENCE = 15_000;

/** Why there is no terminal to be had; undefined when there is. */
export function whyNoPty(): string | undefined {
  try {
    const { stdout } = new Deno.Command("script", { args: ["--version"], stderr: "null" }).outputSync();
    return new TextDecoder().decode(stdout).includes("util-linux") ? undefined : "needs util-linux's script";
  } catch {
    return "needs script: apt-get install bsdutils";
  }
}

/** A program on a terminal of 100 columns. */
export class Pty implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #keys: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reading: Promise<void>;
  /** Everything the terminal got, escape codes removed, CR LF as LF. */
  #text = "";
  #seen = 0;
  #changed = Promise.withResolvers<void>();
  #over = false;

  /** @param command for a shell */
  constructor(command: string, env: Record<string, string> = {}) {
    this.#child = new Deno.Command("script", {
      args: ["-qec", `stty cols 100 rows 30; exec ${command}`, "/dev/null"],
      env: { TERM: "xterm", SHELL: "/bin/sh", ...env },
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    this.#keys = this.#child.stdin.getWriter();
    this.#reading = this.#read();
  }

  async #read(): Promise<void> {
    for await (const piece of this.#child.stdout.pipeThrough(new TextDecoderStream())) {
      // deno-lint-ignore no-control-regex -- what a terminal is told
      this.#text = (this.#text + piece).replace(/\x1b\[[0-9;?]*[A-Za-z]/g, "").replace(/\r+\n/g, "\n");
      this.#wake();
    }
    this.#over = true;
    this.#wake();
  }

  #wake(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  /** Press keys: "\t", "\x03" (Ctrl-C), or text that is not waited for. */
  async press(...keys: string[]): Promise<void> {
    for (const key of keys) await this.#keys.write(new TextEncoder().encode(key)).catch(() => {}); // it may have left
  }

  /** Type text and wait for its echo: a key behind it is then a key, not part of what looks like a pasted text. */
  async type(text: string): Promise<void> {
    await this.press(text);
    await this.expect(text);
  }

  /** Press a key again and again, as slowly as a person, until something appears. */
  async pressUntil(key: string, what: RegExp): Promise<string> {
    const timer = setInterval(() => this.press(key), 150);
    return await this.expect(what).finally(() => clearInterval(timer));
  }

  /**
   * Wait until something appears behind what was waited for before.
   * @returns the text up to and with it
   */
  async expect(what: string | RegExp): Promise<string> {
    const deadline = performance.now() + PATIENCE;
    for (;;) {
      const rest = this.#text.slice(this.#seen);
      const match = typeof what === "string" ? { index: rest.indexOf(what), length: what.length } : found(what, rest);
      if (match.index >= 0) {
        this.#seen += match.index + match.length;
        return rest.slice(0, match.index + match.length);
      }
      const left = deadline - performance.now();
      assert.ok(left > 0 && !this.#over, `${what} did not appear; the terminal had: ${JSON.stringify(rest)}`);
      let timer: ReturnType<typeof setTimeout> | undefined;
      await Promise.race([this.#changed.promise, new Promise((resolve) => timer = setTimeout(resolve, left))]);
      clearTimeout(timer);
    }
  }

  /** Wait for the end. @returns the exit status, and what came behind the last thing that was expected */
  async end(): Promise<{ status: number; rest: string }> {
    const { code } = await this.#child.status;
    await this.#reading;
    return { status: code, rest: this.#text.slice(this.#seen) };
  }

  /** Id of the running `script`, whose child the program is. */
  get pid(): number {
    return this.#child.pid;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch { /* it has ended */ }
    await this.#child.status;
    await this.#reading;
    await this.#keys.abort().catch(() => {});
  }
}

function found(what: RegExp, text: string): { index: number; length: number } {
  const match = what.exec(text);
  return match ? { index: match.index, length: match[0].length } : { index: -1, length: 0 };
}
