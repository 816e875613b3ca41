/**
 * A domain XML for a machine libvirt does not know, from what its monitor tells. It is the least libvirt takes: name, UUID,
 * memory, processors, machine type. Who has the real one should give that, as devices are not in here.
 * @module
 */
import { CommandError } from "../stream/errors.ts";
import type { AssembledWorkbench } from "./workbench.ts";

/** Describe a machine. */
export async function domainXml(bench: AssembledWorkbench): Promise<string> {
  const ask = async <T>(name: string, args: Record<string, unknown>, otherwise: T): Promise<T> => {
    try {
      return await bench.qmp(name, args) as T;
    } catch (error) {
      if (error instanceof CommandError) return otherwise;
      throw error;
    }
  };
  const { name = "guest" } = await ask<{ name?: string }>("query-name", {}, {});
  const { UUID } = await ask("query-uuid", {}, { UUID: "00000000-0000-0000-0000-000000000000" });
  const memory = await ask<Record<string, number>>("query-memory-size-summary", {}, {});
  const bytes = (memory["base-memory"] ?? 0) + (memory["plugged-memory"] ?? 0) || ramOf(bench);
  const cpus = await ask<unknown[]>("query-cpus-fast", {}, [undefined]);
  const { arch } = await ask("query-target", {}, { arch: "x86_64" });
  const { enabled } = await ask("query-kvm", {}, { enabled: false });
  const { machine } = bench.session.guest.configuration;
  return [
    `<domain type='${enabled ? "kvm" : "qemu"}'>`,
    `  <name>${escape(name)}</name>`,
    `  <uuid>${UUID}</uuid>`,
    `  <memory unit='KiB'>${Math.ceil(bytes / 1024)}</memory>`,
    `  <vcpu placement='static'>${cpus.length}</vcpu>`,
    "  <os>",
    `    <type arch='${escape(arch)}'${machine ? ` machine='${escape(machine)}'` : ""}>hvm</type>`,
    "  </os>",
    "</domain>",
    "",
  ].join("\n");
}

function ramOf({ session }: AssembledWorkbench): number {
  return session.guest.memory.blocks.find(({ idstr }) => idstr === "pc.ram")?.usedLength ??
    session.guest.memory.totalBytes;
}

function escape(text: string): string {
  return text.replace(/[<>&'"]/g, (c) => `&#${c.charCodeAt(0)};`);
}
