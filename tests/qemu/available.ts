/**
 * Is there a QEMU to test against? Tests that need one are registered here, so that a machine without it shows their names
 * with the reason, and CI (`MIGLAB_REQUIRE_QEMU=1`) fails instead.
 * @module
 */

/** The program, as found on PATH. */
export const QEMU = "qemu-system-x86_64";
/** The oldest release whose streams these tests expect: every machine of it sends SWITCHOVER_START. */
const OLDEST = 10;
const INSTALL = "needs QEMU 10: .ci/qemu installs it with apt-get";

let version: string | null | undefined;

/** The installed version, "10.0.2"; undefined when there is none. Asked once per process. */
export function qemuVersion(): string | undefined {
  if (version === undefined) {
    try {
      const { stdout } = new Deno.Command(QEMU, { args: ["--version"], stderr: "null" }).outputSync();
      version = /version (\d+[\d.]*)/.exec(new TextDecoder().decode(stdout))?.[1] ?? null;
    } catch {
      version = null;
    }
  }
  return version ?? undefined;
}

/** True with QEMU 10 or later. */
export function qemuAvailable(): boolean {
  return parseInt(qemuVersion() ?? "0") >= OLDEST;
}

let kvm: boolean | undefined;

/** True when QEMU itself can run a machine under KVM here. Asked once per process. */
export function kvmAvailable(): boolean {
  if (kvm === undefined) {
    const machine = "-accel kvm -machine none -nodefaults -display none -monitor stdio";
    const args = ["-c", `echo quit | exec ${QEMU} ${machine}`];
    kvm = new Deno.Command("/bin/sh", { args, stdout: "null", stderr: "null" }).outputSync().success;
  }
  return kvm;
}

/**
 * Register a test that runs a real QEMU.
 * @param needs "kvm": left out, visibly, where the machine has none
 */
export function qemuTest(name: string, body: (t: Deno.TestContext) => Promise<void>, needs?: "kvm"): void {
  if (!qemuAvailable()) {
    const found = qemuVersion() ? `, found ${qemuVersion()}` : "";
    if (Deno.env.get("MIGLAB_REQUIRE_QEMU") !== "1") {
      Deno.test({ name: `${name} (${INSTALL}${found})`, ignore: true, fn: body });
      return;
    }
    Deno.test(name, () => Promise.reject(new Error(`${INSTALL}${found}`)));
    return;
  }
  const ignore = needs === "kvm" && !kvmAvailable();
  Deno.test({ name: ignore ? `${name} (needs KVM)` : name, ignore, fn: body });
}
