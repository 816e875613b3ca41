/**
 * Where zstd frames end. A decoder stops silently at a cut, and takes what follows the last frame for another that is damaged, so
 * somebody has to look.
 *
 *     frame     = le32 fd2fb528, descriptor, [window], [dictionary id], [content size], { block }, [le32 checksum]
 *     block     = le24 last | type << 1 | size << 3, size bytes; 1 byte for type 1 (RLE)
 *     skippable = le32 184d2a50..5f, le32 size, size bytes
 *
 * Source: RFC 8878, sections 3.1.1 and 3.1.2.
 * @module
 */

const MAGIC = 0xfd2fb528;
const DICTIONARY_BYTES = [0, 1, 2, 4];
const CONTENT_SIZE_BYTES = [0, 2, 4, 8];

/** What the next bytes belong to. */
type Step = "magic" | "descriptor" | "header" | "block" | "payload" | "checksum" | "skip size" | "skip" | "foreign";

/** Follows the frames of a stream of pieces. */
export class ZstdFrames {
  /** True inside a frame: the end of the data here is a cut. */
  get inside(): boolean {
    return !(this.#step === "magic" && this.#have === 0) && this.#step !== "foreign";
  }
  #step: Step = "magic";
  /** Little-endian number being collected, and how many bytes of it are there. */
  #value = 0;
  #have = 0;
  #left = 0;
  #last = false;
  #checksum = false;

  /**
   * Take bytes up to the end of a frame.
   * @returns `used`: bytes taken, all of them where no frame ended; `ended`: a frame ended behind them; `data`: they are of a frame,
   * skippable ones among them (false: bytes behind the last)
   */
  take(piece: Uint8Array): { used: number; ended: boolean; data: boolean } {
    let at = 0;
    while (at < piece.length) {
      switch (this.#step) {
        case "foreign":
          return { used: piece.length, ended: false, data: false };
        case "payload":
        case "header":
        case "checksum":
        case "skip": {
          const n = Math.min(this.#left, piece.length - at);
          at += n;
          this.#left -= n;
          if (this.#left === 0 && this.#next()) return this.#end(at);
          break;
        }
        default:
          if (!this.#collect(piece[at++])) break;
          if (this.#parsed()) return this.#end(at);
          if (this.#left === 0 && this.#stepsOver() && this.#next()) return this.#end(at);
      }
    }
    return { used: at, ended: false, data: true };
  }

  #end(used: number): { used: number; ended: boolean; data: boolean } {
    this.#to("magic");
    return { used, ended: true, data: true };
  }

  #stepsOver(): boolean {
    return ["payload", "header", "checksum", "skip"].includes(this.#step);
  }

  /** One byte more of the number at hand. @returns true when it is whole */
  #collect(byte: number): boolean {
    const bytes = this.#step === "descriptor" ? 1 : this.#step === "block" ? 3 : 4;
    this.#value += byte * 2 ** (8 * this.#have++);
    return this.#have === bytes;
  }

  /** A number is whole. @returns true when that ends a frame */
  #parsed(): boolean {
    const value = this.#value;
    switch (this.#step) {
      case "magic":
        if (value === MAGIC) this.#to("descriptor");
        else this.#to(value >= 0x184d2a50 && value <= 0x184d2a5f ? "skip size" : "foreign");
        return false;
      case "descriptor": {
        const single = value >> 5 & 1;
        this.#checksum = (value & 4) !== 0;
        const content = value >> 6;
        const left = (single ? 0 : 1) + DICTIONARY_BYTES[value & 3] +
          (content === 0 && single ? 1 : CONTENT_SIZE_BYTES[content]);
        this.#to("header", left);
        return false;
      }
      case "block":
        this.#last = (value & 1) !== 0;
        this.#to("payload", (value >> 1 & 3) === 1 ? 1 : value >> 3);
        return false;
      case "skip size":
        this.#to("skip", value);
        return value === 0;
    }
    return false;
  }

  /** What was stepped over is over. @returns true when that ends a frame */
  #next(): boolean {
    switch (this.#step) {
      case "header":
        this.#to("block");
        return false;
      case "payload":
        if (!this.#last) this.#to("block");
        else if (this.#checksum) this.#to("checksum", 4);
        else return true;
        return false;
      default:
        return true;
    }
  }

  #to(step: Step, left = 0): void {
    this.#step = step;
    this.#value = this.#have = 0;
    this.#left = left;
  }
}
