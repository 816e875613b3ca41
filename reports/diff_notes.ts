/**
 * Registers of processors, where one of the two is an ELF core; and its other notes where both are.
 * @module
 */
import { Buffer } from "node:buffer";
import type { CoreNote, Image } from "../containers/image.ts";
import { readNotes } from "../containers/elf_note.ts";
import { coreCpus, machineName, type NoteOrigin, type Registers } from "./core_cpu.ts";
import { cpuStates } from "./cpu_state.ts";
import type { DeviceDifference } from "./diff_devices.ts";
import type { FieldDifference } from "./diff_fields.ts";
import { machineCode } from "./elf.ts";
import { cpuNotes } from "./elf_notes.ts";
import type { Ignore } from "./field_pattern.ts";

/** Compare processors, as devices named "cpu"; notes nobody decodes, of two cores, as devices of their own name. */
export function diffNotes(a: Image, b: Image, ignore: Ignore): DeviceDifference[] {
  const left = notesOf(a), right = notesOf(b);
  const mine = coreCpus(left), theirs = coreCpus(right);
  const differences: DeviceDifference[] = [];
  // what has no notes that are understood says nothing
  const count = mine.length && theirs.length ? Math.max(mine.length, theirs.length) : 0;
  for (let instanceId = 0; instanceId < count; instanceId++) {
    const one = mine[instanceId], two = theirs[instanceId];
    if (ignore({ device: "cpu" })) break;
    if (!one || !two) differences.push({ name: "cpu", instanceId, change: one ? "removed" : "added" });
    else {
      const fields = diffRegisters(one, two).filter(({ path }) => !ignore({ device: "cpu", field: path }));
      if (fields.length) differences.push({ name: "cpu", instanceId, change: "fields", fields });
    }
  }
  return a.core && b.core ? [...differences, ...diffOthers(left, right, count > 0, ignore)] : differences;
}

/** Notes of a core; those a stream's processors would have. */
function notesOf(image: Image): NoteOrigin {
  if (image.core) return image.core;
  const cpus = cpuStates(image);
  const notes: CoreNote[] = [];
  for (const note of cpuNotes(cpus)) readNotes(note, 0, true, notes);
  return { machine: machineCode(image, cpus), byteOrder: "little", notes };
}

function diffRegisters(a: Registers, b: Registers): FieldDifference[] {
  const fields: FieldDifference[] = [];
  for (const [path, value] of a) {
    const other = b.get(path);
    if (other !== undefined && other !== value) fields.push({ path, a: hex(value), b: hex(other) });
  }
  return fields;
}

function hex(value: bigint): string {
  return `0x${value.toString(16)}`;
}

/** Notes byte by byte: those of one name and type by their turn. */
function diffOthers(a: NoteOrigin, b: NoteOrigin, cpusDone: boolean, ignore: Ignore): DeviceDifference[] {
  const differences: DeviceDifference[] = [];
  if (a.machine !== b.machine) {
    const field = { path: "e_machine", a: machineName(a.machine), b: machineName(b.machine) };
    if (!ignore({ device: "elf", field: field.path })) {
      differences.push({ name: "elf", instanceId: 0, change: "fields", fields: [field] });
    }
  }
  const left = byTurn(a.notes), right = byTurn(b.notes);
  for (const key of new Set([...left.keys(), ...right.keys()])) {
    const one = left.get(key), two = right.get(key);
    const { note: { name, type }, turn: instanceId } = (one ?? two)!;
    const device = `${name}.${type}`;
    if ((cpusDone && /^(CORE\.1|QEMU\.0)$/.test(device)) || ignore({ device })) continue;
    if (!one || !two) differences.push({ name: device, instanceId, change: one ? "removed" : "added" });
    else if (Buffer.compare(one.note.desc, two.note.desc) !== 0) {
      const bytes = [one.note.desc.length, two.note.desc.length] as const;
      differences.push({ name: device, instanceId, change: "data", bytes });
    }
  }
  return differences;
}

function byTurn(notes: readonly CoreNote[]): Map<string, { note: CoreNote; turn: number }> {
  const turns = new Map<string, number>();
  const map = new Map<string, { note: CoreNote; turn: number }>();
  for (const note of notes) {
    const kind = `${note.type} ${note.name}`;
    const turn = turns.get(kind) ?? 0;
    turns.set(kind, turn + 1);
    map.set(`${turn} ${kind}`, { note, turn });
  }
  return map;
}
