/**
 * Places in a damaged stream at which a decoder can go on: what is known when one is looked for, and what is found.
 * @module
 */
import type { ImageSection } from "../containers/image.ts";
import type { VmDescription } from "../stream/vmdesc.ts";

/** What is known of the stream when a place is looked for. */
export interface ScanKnowledge {
  /** Section id of ram, where its START was seen. */
  readonly ramId?: number;
  /** Bytes of a target page. */
  readonly pageSize: number;
  /** Used lengths by block. */
  readonly blocks: ReadonlyMap<string, number>;
  /** There are no other blocks: a record that names one is damaged. */
  readonly allBlocks: boolean;
  /** Iterables other than ram whose START was seen, by section id. */
  readonly iterables: KnownIterables;
  /** Only devices are wanted: pages lie elsewhere. */
  readonly devicesOnly: boolean;
  /** Only page records are wanted: the channel has nothing else. */
  readonly recordsOnly: boolean;
  readonly description?: VmDescription;
}

/** A place to go on. */
export interface ScanFind {
  readonly offset: number;
  readonly kind: "start" | "section" | "part" | "record" | "iterable";
  /** Of a record that names a block: the name, which may be new. */
  readonly block?: string;
  /** Of a record: where in its block the page lies. */
  readonly pageOffset?: number;
  /** Of an iterable other than ram: what its header says. */
  readonly section?: ImageSection;
}

/** Names an iterable by its section id. */
export type KnownIterables = ReadonlyMap<number, Pick<ImageSection, "name" | "instanceId" | "version">>;
