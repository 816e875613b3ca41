/**
 * Which entries of a description's `fields` are one array, and how many elements each entry stands for.
 *
 *     {"name": "a", "array_len": 3, ...}                                      3 elements, laid out alike
 *     {"name": "a", "index": 0, ...} {"name": "a", "index": 1, ...} {"name": "a", ...}
 *                                                                             3 elements, the last without index
 *     {"name": "a", "array_len": 254, "type": "nullptr"} {"name": "a", "type": "struct"} {"name": "a", "type": "nullptr"}
 *                                                                             256 pointers, in runs
 *
 * Names are unique within a vmsd, so consecutive entries of one name are always one array. Three oddities of
 * QEMU 10.0 (migration/vmstate.c vmstate_save_state_v, vmsd_desc_field_start) are put right here:
 * the last element of an indexed array has no `index`; the first run of a pointer array claims the length of the
 * whole array when it is not NULL; and in a pointer array with an entry per element, runs of NULL claim lengths
 * that overlap (told by two NULL entries in a row, or by any `index`).
 * @module
 */
import type { FieldDescription } from "./vmdesc.ts";

/** Elements that share one entry. */
export interface FieldRun {
  readonly field: FieldDescription;
  readonly count: number;
}

/** One field of a vmsd: a single value, or an array. */
export interface FieldGroup {
  readonly name: string;
  /** False for a single value. An array of one element cannot be told from a single value. */
  readonly isArray: boolean;
  readonly runs: readonly FieldRun[];
}

const known = new WeakMap<readonly FieldDescription[], readonly FieldGroup[]>();

/** The fields of a vmsd, entries of one array together. Worked out once per description. */
export function groupFields(fields: readonly FieldDescription[]): readonly FieldGroup[] {
  let groups = known.get(fields);
  if (!groups) {
    groups = group(fields);
    known.set(fields, groups);
  }
  return groups;
}

function group(fields: readonly FieldDescription[]): FieldGroup[] {
  const groups: FieldGroup[] = [];
  for (let begin = 0; begin < fields.length;) {
    const name = fields[begin].name;
    let end = begin + 1;
    while (end < fields.length && fields[end].name === name) end++;
    const entries = fields.slice(begin, end);
    const isArray = entries.length > 1 || entries[0].arrayLen !== undefined || entries[0].index !== undefined;
    groups.push({ name, isArray, runs: runsOf(entries) });
    begin = end;
  }
  return groups;
}

function runsOf(entries: readonly FieldDescription[]): FieldRun[] {
  if (entries.length > 1 && hasEntryPerElement(entries)) return entries.map((field) => ({ field, count: 1 }));
  const runs = entries.map((field) => ({ field, count: field.arrayLen ?? 1 }));
  if (runs.length > 1 && !isNull(entries[0]) && entries[0].arrayLen !== undefined) {
    let later = 0;
    for (const run of runs.slice(1)) later += run.count;
    if (later < runs[0].count) runs[0].count -= later;
  }
  return runs;
}

function hasEntryPerElement(entries: readonly FieldDescription[]): boolean {
  return entries.some((field, at) => field.index !== undefined || (at > 0 && isNull(field) && isNull(entries[at - 1])));
}

function isNull(field: FieldDescription): boolean {
  return field.type === "nullptr";
}
