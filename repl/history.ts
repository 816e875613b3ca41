/**
 * Lines typed at the console, kept from one session to the next: a text file, one line each, oldest first, readable by
 * its owner only.
 *
 * Two consoles may run at once, so each new line is put into the file as it is then. Without the permission or the place
 * to keep a history the console simply has none.
 * @module
 */
import { chmodSync, closeSync, mkdirSync, openSync, readFileSync, renameSync, unlinkSync, writeSync } from "node:fs";
import { dirname } from "node:path";

/** Lines kept. */
export const HISTORY_LINES = 1000;

/** Bytes of a history file that are read; what lies beyond is not ours. */
const MAX_BYTES = 8 << 20;

/** Reads one environment variable; undefined when it is unset or may not be read. */
export type Environment = (name: string) => string | undefined;

/** The environment, without ever asking for the permission to read it. */
export function environment(name: string): string | undefined {
  if (Deno.permissions.querySync({ name: "env", variable: name }).state !== "granted") return undefined;
  return Deno.env.get(name) || undefined;
}

/** Where the history lives: MIGLAB_HISTORY, else `miglab/history` in XDG_STATE_HOME or in ~/.local/state. */
export function historyPath(env: Environment = environment): string | undefined {
  const named = env("MIGLAB_HISTORY");
  if (named) return named;
  const state = env("XDG_STATE_HOME") ?? (env("HOME") && `${env("HOME")}/.local/state`);
  return state && `${state}/miglab/history`;
}

/** The lines of one file. */
export class History {
  /** @param path undefined: nothing is kept */
  constructor(readonly path: string | undefined) {}

  /** Oldest first; empty when there is nothing to read. */
  read(): string[] {
    if (this.path === undefined || !may("read", this.path)) return [];
    try {
      const bytes = readFileSync(this.path);
      if (bytes.length > MAX_BYTES) return [];
      return bytes.toString("utf8").split("\n").filter((line) => line !== "").slice(-HISTORY_LINES);
    } catch {
      return [];
    }
  }

  /** Put a line at the end; an equal one from earlier goes away. */
  add(line: string): void {
    const text = line.trim();
    if (text === "" || /[\r\n]/.test(text) || this.path === undefined || !may("write", this.path)) return;
    const lines = this.read().filter((other) => other !== text);
    lines.push(text);
    const beside = `${this.path}.${Deno.pid}`;
    try {
      mkdirSync(dirname(this.path), { recursive: true, mode: 0o700 });
      const fd = openSync(beside, "w", 0o600);
      try {
        writeSync(fd, lines.slice(-HISTORY_LINES).join("\n") + "\n");
      } finally {
        closeSync(fd);
      }
      chmodSync(beside, 0o600);
      renameSync(beside, this.path);
    } catch {
      try {
        unlinkSync(beside);
      } catch { /* it was never made */ }
    }
  }
}

/** Whether a path may be touched without a permission prompt in the user's face. */
function may(name: "read" | "write", path: string): boolean {
  return Deno.permissions.querySync({ name, path }).state === "granted";
}
