/**
 * Measuring how fast a guest dirties its memory: pages are hashed at the start of a period and again at its end.
 *
 *     sampling   `sample-pages` per GiB of each block, at pseudo-random places, as QEMU's page-sampling does
 *     bitmap, ring   every page that was ever touched, counted exactly
 *
 * Rate in MiB/s. Source: QEMU migration/dirtyrate.c (qmp_calc_dirty_rate, query_dirty_rate_info).
 * @module
 */
import { clearTimeout, setTimeout } from "node:timers";
import type { RamBlock } from "../guest/memory.ts";
import { CommandError } from "../stream/errors.ts";
import type { Session } from "./session.ts";

const MIN_MS = 50;
const MAX_MS = 60000;
const MIN_SAMPLES = 128;
const MAX_SAMPLES = 16384;
const DEFAULT_SAMPLES = 512;

/** QAPI DirtyRateMeasureMode. */
export type DirtyRateMode = "page-sampling" | "dirty-ring" | "dirty-bitmap";

/** What `calc-dirty-rate` asks for. */
export interface DirtyRateRequest {
  /** Period in ms. */
  readonly ms: number;
  /** Samples per GiB; left out: 512. */
  readonly samplePages?: number;
  /** How pages are watched. */
  readonly mode: DirtyRateMode;
}

/** A page that is watched, and its hash at the start. */
interface Sample {
  readonly block: RamBlock;
  readonly offset: number;
  readonly hash: number;
}

/** FNV-1a over 32-bit words: cheap, and a page that changes almost never keeps it. */
function hashPage(block: RamBlock, offset: number, length: number): number {
  const view = block.view(offset, length);
  if (!view) return 0;
  const words = new Int32Array(view.buffer, view.byteOffset, length >> 2);
  let hash = 0x811c9dc5 | 0;
  let any = 0;
  for (let i = 0; i < words.length; i++) {
    any |= words[i];
    hash = Math.imul(hash ^ words[i], 0x01000193);
  }
  // zeros that were never touched and zeros that were written are the same page
  return any === 0 ? 0 : hash;
}

/** The measurement of a session: at most one at a time, its result kept. */
export class DirtyRate {
  readonly #session: Session;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #samples: Sample[] = [];
  #request: DirtyRateRequest = { ms: 0, mode: "page-sampling" };
  /** How far it is. */
  status: "unstarted" | "measuring" | "measured" = "unstarted";
  /** Seconds since 1970. */
  startTime = 0;
  /** MiB/s, once measured. */
  rate: number | undefined;

  /** For one session. */
  constructor(session: Session) {
    this.#session = session;
  }

  /** Mode of the last measurement. */
  get mode(): DirtyRateMode {
    return this.#request.mode;
  }

  /** Period of the last measurement in ms. */
  get ms(): number {
    return this.#request.ms;
  }

  /** Samples per GiB of the last measurement; 0 before the first and in other modes. */
  get samplePages(): number {
    if (this.status === "unstarted" || this.mode !== "page-sampling") return 0;
    return this.#request.samplePages ?? DEFAULT_SAMPLES;
  }

  /** `calc-dirty-rate`. @throws {CommandError} with QEMU's text */
  start(request: DirtyRateRequest): void {
    const { ms, samplePages, mode } = request;
    if (this.status === "measuring") throw new CommandError("the dirty rate is already being measured.");
    if (ms < MIN_MS || ms > MAX_MS) {
      throw new CommandError(`Calculation time is out of range [${MIN_MS}ms, ${MAX_MS}ms].`);
    }
    if (samplePages !== undefined && mode !== "page-sampling") {
      throw new CommandError("sample-pages is used only in page-sampling mode");
    }
    if (samplePages !== undefined && (samplePages < MIN_SAMPLES || samplePages > MAX_SAMPLES)) {
      throw new CommandError(`sample-pages is out of range[${MIN_SAMPLES}, ${MAX_SAMPLES}].`);
    }
    const { accelerator, dirtyRing } = this.#session.options;
    const ring = accelerator === "kvm" && dirtyRing === true;
    if ((mode === "dirty-ring" && !ring) || (mode === "dirty-bitmap" && ring)) {
      throw new CommandError(`mode ${mode} is not enabled, use other method instead.`);
    }
    this.#request = request;
    this.status = "measuring";
    this.rate = undefined;
    this.startTime = Math.floor(Date.now() / 1000);
    this.#samples = this.#take();
    this.#timer = setTimeout(() => this.#finish(), ms);
    this.#timer.unref();
  }

  /** Give up a measurement. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#samples = [];
  }

  #take(): Sample[] {
    const { guest } = this.#session;
    const page = guest.targetPageSize;
    const samples: Sample[] = [];
    for (const block of guest.memory.blocks) {
      const pages = Math.floor(block.usedLength / page);
      if (this.mode !== "page-sampling") {
        for (let i = 0; i < pages; i++) {
          if (!block.isUntouched(i * page)) {
            samples.push({ block, offset: i * page, hash: hashPage(block, i * page, page) });
          }
        }
        continue;
      }
      const count = Math.floor(block.usedLength / 2 ** 30 * this.samplePages);
      for (let i = 0; i < count; i++) {
        const offset = Math.floor(Math.random() * pages) * page;
        samples.push({ block, offset, hash: hashPage(block, offset, page) });
      }
    }
    return samples;
  }

  #finish(): void {
    const { memory, targetPageSize: page } = this.#session.guest;
    const dirty = this.#samples.filter(({ block, offset, hash }) => hashPage(block, offset, page) !== hash).length;
    const bytes = this.mode === "page-sampling" && this.#samples.length > 0
      ? memory.totalBytes * dirty / this.#samples.length
      : dirty * page;
    this.rate = Math.floor(bytes / 2 ** 20 * 1000 / this.ms);
    this.status = "measured";
    this.#samples = [];
  }
}
