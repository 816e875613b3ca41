/**
 * How far a migration is, in one line for a terminal, from what `query-migrate` answers.
 *
 *     ram [#########           ]  43% 112 MiB of 256 MiB, 890 MiB/s, 0:01 left
 *     43% 112 MiB of 256 MiB, 0:01 left                                         where there is less room
 *
 * The line is redrawn in place ten times a second and erased in the end; nothing else may stand in it.
 * @module
 */
import type { Forecast } from "../core/forecast.ts";

/** The part of QEMU's MigrationInfo that is used; every member may be absent. */
export interface MigrationFigures {
  readonly status?: string;
  readonly "error-desc"?: string;
  readonly "total-time"?: number;
  readonly ram?: Readonly<Record<string, number | bigint>>;
  /** Bytes the guest writes in a second, where that is known. */
  readonly writes?: number;
  /** False: it will not end like this. */
  readonly converges?: boolean;
  /** Seconds until the end, where somebody has looked ahead; left out: told from how fast it went so far. */
  readonly secondsLeft?: number;
}

/** A forecast as the progress line has it. */
export function figuresOf(forecast: Forecast): MigrationFigures {
  const { status, total, remaining, transferred, pass, dirtyBytesPerSecond, converges, secondsLeft } = forecast;
  return {
    status,
    converges,
    ...(dirtyBytesPerSecond > 0 ? { writes: dirtyBytesPerSecond } : {}),
    // of the first pass alone nobody knows what comes behind it
    ...(pass > 1 && secondsLeft !== undefined ? { secondsLeft } : {}),
    ...(total > 0 ? { ram: { total, remaining, transferred, "dirty-sync-count": pass } } : {}),
  };
}

/** Bytes for people: "512 B", "1.5 KiB", "112 MiB", "4.00 GiB". */
export function bytesText(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
  let unit = 0;
  let value = Math.max(0, bytes);
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  if (unit === 0) return `${Math.round(value)} B`;
  return `${value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0)} ${units[unit]}`;
}

/** Seconds for people: "0:07", "12:30", "1:02:03". */
export function timeText(seconds: number): string {
  const whole = Math.max(0, Math.ceil(seconds));
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (parts[0] === 0) parts.shift();
  return parts.map((part, i) => i === 0 ? String(part) : String(part).padStart(2, "0")).join(":");
}

/** Draws the progress of one migration. */
export class ProgressLine {
  #drawn = false;
  #last?: { remaining: number; transferred: number; at: number };
  /** Bytes of RAM dealt with a second, zero pages included; smoothed. */
  #pace = 0;
  #rate = 0;

  /**
   * @param write puts text on the terminal
   * @param columns width of the terminal, asked each time
   * @param label what the bar stands for
   * @param now milliseconds of a clock that only goes forward
   */
  constructor(
    private readonly write: (text: string) => void,
    private readonly columns: () => number = () => 80,
    private readonly label = "ram",
    private readonly now: () => number = () => performance.now(),
  ) {}

  /** Draw the present state. */
  show(figures: MigrationFigures): void {
    this.write(`\r\x1b[K${this.text(figures)}`);
    this.#drawn = true;
  }

  /** Take the line off the screen. */
  erase(): void {
    if (this.#drawn) this.write("\r\x1b[K");
    this.#drawn = false;
  }

  /** The line, never wider than the terminal, and with room for the `^C` that a terminal echoes. */
  text(figures: MigrationFigures): string {
    const width = Math.max(10, this.columns() - 3);
    const total = Number(figures.ram?.total ?? 0);
    if (!figures.ram || total === 0) return (figures.status ?? "starting").slice(0, width);
    const remaining = Math.min(total, Number(figures.ram.remaining ?? 0));
    const transferred = Number(figures.ram.transferred ?? 0);
    this.#measure(remaining, transferred);
    const share = Math.min(1, Math.max(0, (total - remaining) / total));
    const pass = Number(figures.ram["dirty-sync-count"] ?? 0);
    const seconds = figures.secondsLeft ?? (this.#pace > 0 && remaining > 0 ? remaining / this.#pace : undefined);
    const stands = figures.converges === false;
    // each with its weight: the lightest go first where there is no room
    const words: readonly (readonly [weight: number, text: string | false | undefined])[] = [
      [6, `${bytesText(total - remaining)} of ${bytesText(total)}`],
      [4, this.#rate > 0 && `${bytesText(this.#rate)}/s`],
      [7, seconds !== undefined && !stands && `${timeText(seconds)} left`],
      [3, pass > 1 && `pass ${pass}`],
      [8, figures.status !== "active" && figures.status],
      [5, figures.writes !== undefined && `guest writes ${bytesText(figures.writes)}/s`],
      [9, stands && "will not converge"],
    ];
    const percent = `${Math.floor(share * 100)}%`;
    const cells = Math.round(share * 20);
    const bar = `${this.label} [${"#".repeat(cells)}${" ".repeat(20 - cells)}] `;
    const line = (least: number) =>
      words.filter(([weight, text]) => text && weight >= least).map(([, text]) => text).join(", ");
    const whole = `${bar}${percent.padStart(4)} ${line(0)}`;
    if (whole.length <= width) return whole;
    for (let least = 0; least < 10; least++) {
      const text = `${percent} ${line(least)}`.trimEnd();
      if (text.length <= width) return text;
    }
    return percent;
  }

  #measure(remaining: number, transferred: number): void {
    const at = this.now();
    const last = this.#last;
    if (last && at - last.at < 50) return;
    this.#last = { remaining, transferred, at };
    if (!last) return;
    const seconds = (at - last.at) / 1000;
    const smooth = (before: number, fresh: number) => before === 0 ? fresh : before * 0.7 + fresh * 0.3;
    // A new pass puts pages back on the list: then `remaining` grew and says nothing about the pace.
    if (remaining <= last.remaining) this.#pace = smooth(this.#pace, (last.remaining - remaining) / seconds);
    if (transferred >= last.transferred) this.#rate = smooth(this.#rate, (transferred - last.transferred) / seconds);
  }
}
