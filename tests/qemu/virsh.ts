/**
 * A real libvirt for tests: virsh with the QEMU driver inside it, no daemon, everything it keeps in a temporary directory.
 *
 *     await using libvirt = openLibvirt();
 *     await libvirt.run(`restore ${image} --paused`, "list --all");
 *
 * Source of what it takes: libvirt src/qemu/qemu_driver.c (qemuStateInitialize, embed mode), src/qemu/qemu.conf.in.
 * @module
 */
import { QEMU, qemuAvailable } from "./available.ts";

/** Longest time for a call: a first one asks QEMU what it can, twice. */
const CALL_MS = 60_000;

/**
 * What QEMU is started with: nothing that a container without its own cgroups, namespaces and users lacks. The guests of tests
 * run what they are given.
 */
const CONFIGURATION = `user = "root"
group = "root"
stdio_handler = "file"
security_driver = "none"
dynamic_ownership = 0
remember_owner = 0
namespaces = [ ]
cgroup_controllers = [ ]
seccomp_sandbox = 0
`;

/** libvirt with a directory of its own. */
export interface Libvirt extends AsyncDisposable {
  /** Path of a file in the directory. */
  path(name: string): string;
  /**
   * Run virsh commands over one connection.
   * @returns what they print
   * @throws with virsh's own lines when one of them fails
   */
  run(...commands: readonly string[]): Promise<string>;
  /** A monitor line of a domain. */
  hmp(domain: string, line: string): Promise<string>;
  /** End a domain, at once. */
  end(domain: string): Promise<void>;
}

/** Major and minor number of the installed virsh; undefined when there is none. */
export function libvirtVersion(): readonly [major: number, minor: number] | undefined {
  try {
    const { stdout } = new Deno.Command("virsh", { args: ["--version"], stderr: "null" }).outputSync();
    const [major, minor] = new TextDecoder().decode(stdout).trim().split(".").map(Number);
    return [major, minor];
  } catch {
    return undefined;
  }
}

/** Why no libvirt can be asked here; undefined: one may be. */
export function libvirtMissing(): string | undefined {
  if (!qemuAvailable()) return "needs QEMU 10";
  if (!libvirtVersion()) return "needs virsh: .ci/libvirt installs it with apt-get";
  if (Deno.uid() !== 0) return "needs root: libvirt's QEMU driver keeps its guests' files for them";
  return undefined;
}

/** Start with nothing: no domain, no settings of the machine's. */
export function openLibvirt(): Libvirt {
  const directory = Deno.makeTempDirSync({ prefix: "miglab-libvirt-" });
  const root = `${directory}/root`;
  Deno.mkdirSync(`${root}/etc`, { recursive: true });
  Deno.writeTextFileSync(`${root}/etc/qemu.conf`, CONFIGURATION);

  const run = async (...commands: readonly string[]) => {
    const { code, stdout, stderr } = await new Deno.Command("taskset", {
      args: ["-c", firstCpu(), "virsh", "-q", "-c", `qemu:///embed?root=${root}`, commands.join("; ")],
      env: { LC_ALL: "C" },
      stdin: "null",
      signal: AbortSignal.timeout(CALL_MS),
    }).output();
    const text = new TextDecoder();
    const errors = text.decode(stderr).split("\n").filter((line) => line.startsWith("error:"));
    if (code !== 0) throw new Error(`virsh "${commands.join("; ")}": ${errors.join(" ") || `status ${code}`}`);
    return text.decode(stdout);
  };
  return {
    path: (name) => `${directory}/${name}`,
    run,
    hmp: (domain, line) => run(`qemu-monitor-command ${domain} --hmp '${line}'`),
    async end(domain) {
      killAll(`${root}/run/qemu`, `${domain}.pid`);
      // the next connection sees that it is gone, unless it comes before the kernel is done with it
      for (let tries = 0; (await run("list --all --name")).split("\n").includes(domain); tries++) {
        if (tries === 20) throw new Error(`domain ${domain} does not end`);
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    },
    [Symbol.asyncDispose]() {
      killAll(`${root}/run/qemu`);
      for (const { name } of list(`${root}/lib/qemu`)) {
        if (name.startsWith("qmp-")) killAll(`${root}/lib/qemu/${name}`);
      }
      Deno.removeSync(directory, { recursive: true });
      return Promise.resolve();
    },
  };
}

/** The memory a domain has below 4 GiB, from the process itself. */
export async function domainMemory(libvirt: Libvirt, domain: string, bytes: number): Promise<Uint8Array<ArrayBuffer>> {
  const path = libvirt.path("memory");
  await libvirt.hmp(domain, `pmemsave 0 ${bytes} "${path}"`);
  const memory = Deno.readFileSync(path);
  Deno.removeSync(path);
  return memory;
}

/** The QEMU that a domain names. */
export function emulator(): string {
  const { stdout } = new Deno.Command("/bin/sh", { args: ["-c", `command -v ${QEMU}`] }).outputSync();
  return new TextDecoder().decode(stdout).trim();
}

/** CPUs differ in what they say of themselves, and libvirt asks QEMU again on each. */
function firstCpu(): string {
  return /^Cpus_allowed_list:\s*(\d+)/m.exec(Deno.readTextFileSync("/proc/self/status"))?.[1] ?? "0";
}

/** End what left its process number in a file of this directory, and is still a QEMU. */
function killAll(directory: string, only?: string): void {
  for (const { name } of list(directory)) {
    if (only ? name !== only : !name.endsWith(".pid") || name === "driver.pid") continue;
    const pid = Number(Deno.readTextFileSync(`${directory}/${name}`));
    try {
      if (Deno.readTextFileSync(`/proc/${pid}/cmdline`).includes(directory.replace(/\/(run|lib)\/.*/, ""))) {
        Deno.kill(pid, "SIGKILL");
      }
    } catch {
      // gone by itself
    }
  }
}

function list(directory: string): readonly Deno.DirEntry[] {
  try {
    return [...Deno.readDirSync(directory)];
  } catch {
    return [];
  }
}
