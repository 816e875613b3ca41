/**
 * What a measurement is: several runs, their median; a process, its time and the most memory it held.
 * @module
 */
import { Buffer } from "node:buffer";

/** Milliseconds a prompt may take at most. */
const PROMPT_MS = 20_000;

/** The middle of several figures. */
export function median(figures: readonly number[]): number {
  const sorted = [...figures].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** What became of a process. */
export interface ProcessFigures {
  readonly ms: number;
  /** VmHWM, read every few milliseconds: bytes. */
  readonly peakBytes: number;
  readonly stdout: string;
}

/** Run a command to its end. @throws when it fails */
export async function runProcess(command: string, args: readonly string[], cwd?: string): Promise<ProcessFigures> {
  const begin = performance.now();
  const pipes = { stdin: "null", stdout: "piped", stderr: "piped" } as const;
  const child = new Deno.Command(command, { args: [...args], cwd, ...pipes }).spawn();
  let peakBytes = 0;
  const timer = setInterval(() => peakBytes = Math.max(peakBytes, highWater(child.pid)), 3);
  try {
    const { success, stdout, stderr } = await child.output();
    const ms = performance.now() - begin;
    if (!success) throw new Error(`${command} ${args.join(" ")}: ${Buffer.from(stderr).toString().trim()}`);
    return { ms, peakBytes, stdout: Buffer.from(stdout).toString() };
  } finally {
    clearInterval(timer);
  }
}

/** Most memory a process ever held, in bytes; 0 when it has gone. */
function highWater(pid: number): number {
  try {
    return 1024 * parseInt(/^VmHWM:\s*(\d+)/m.exec(Deno.readTextFileSync(`/proc/${pid}/status`))?.[1] ?? "0");
  } catch {
    return 0;
  }
}

/** Milliseconds until a program on a terminal of its own prints `text`. Needs script(1) of util-linux. */
export async function untilPrompt(command: string, text: string): Promise<number> {
  const begin = performance.now();
  const child = new Deno.Command("script", {
    args: ["-qec", command, "/dev/null"],
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  let seen = "";
  let ms: number | undefined;
  const decoder = new TextDecoder();
  const late = setTimeout(() => child.kill("SIGKILL"), PROMPT_MS);
  for await (const chunk of child.stdout) {
    seen += decoder.decode(chunk, { stream: true });
    if (ms !== undefined || !seen.includes(text)) continue;
    ms = performance.now() - begin;
    const keyboard = child.stdin.getWriter();
    await keyboard.write(new TextEncoder().encode("quit\r"));
    keyboard.releaseLock();
  }
  await child.stdin.close().catch(() => {}); // the terminal has gone with the program
  await child.status;
  clearTimeout(late);
  if (ms === undefined) throw new Error(`${command} ended before it printed "${text}": ${seen}`);
  return ms;
}

const PROT_READ_WRITE = 3, MAP_PRIVATE_ANONYMOUS = 0x22;
const MADV_HUGEPAGE = 14, MADV_POPULATE_WRITE = 23;

/**
 * Use and give back so many bytes of memory, in large pages: the host of a virtual machine takes freed memory back within
 * seconds, and whoever comes first after that pays for it.
 */
export function warmMemory(bytes: number): void {
  const { symbols: libc } = Deno.dlopen("libc.so.6", {
    mmap: { parameters: ["usize", "usize", "i32", "i32", "i32", "i64"], result: "usize" },
    madvise: { parameters: ["usize", "usize", "i32"], result: "i32" },
    munmap: { parameters: ["usize", "usize"], result: "i32" },
  });
  const length = BigInt(bytes);
  const address = libc.mmap(0n, length, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0n);
  libc.madvise(address, length, MADV_HUGEPAGE);
  libc.madvise(address, length, MADV_POPULATE_WRITE);
  libc.munmap(address, length);
}
