/**
 * What can be wrong with bytes.
 *
 *     Error
 *      +-- StreamError            channel, offset, found, expected   bytes are wrong
 *      |    +-- TruncatedStreamError                                 bytes end early
 *      |    +-- UnsupportedError  feature                            bytes are fine, this reader cannot
 *      +-- MemoryFaultError       block, pageOffset                  a page outside a block
 *      +-- TransportError         the outside world said no
 *      +-- CommandError           the person mistyped, or a rule forbids it
 *
 * Wording: action, colon, what was found, what was expected; no full stop. Where QEMU has a sentence for
 * the fault it stands in `qemu`, and the message contains it.
 * @module
 */

/** Print an offset the way every message does. */
export function hex(offset: number | bigint): string {
  return "0x" + offset.toString(16);
}

/** Text that may hold names from a stream, made fit for one line of a terminal: control characters spelled out. */
export function printable(text: string): string {
  // deno-lint-ignore no-control-regex
  return text.replace(/[\x00-\x1f\x7f-\x9f]/g, (c) => "\\x" + c.charCodeAt(0).toString(16).padStart(2, "0"));
}

/** The same, long text cut. */
function oneLine(text: string): string {
  const clean = printable(text);
  return clean.length > LINE_LIMIT ? clean.slice(0, LINE_LIMIT) + "..." : clean;
}

/** Characters of one part of a message; QEMU's longest sentence has under 200. */
const LINE_LIMIT = 240;

/** Where and what, for a {@link StreamError}. */
export interface StreamErrorOptions {
  /** Name of the channel: "main", "multifd 0". */
  readonly channel: string;
  /** Byte offset in the channel (for a file: in the file) at which the fault begins. */
  readonly offset: number;
  readonly found?: string;
  readonly expected?: string;
  /** QEMU's own sentences for this fault, innermost first, as it would print them on stderr. */
  readonly qemu?: readonly string[];
  /** QEMU's final errno wording, `load of migration failed: REASON`. */
  readonly reason?: string;
  readonly cause?: unknown;
}

/** The bytes of a stream break a rule of the format. */
export class StreamError extends Error {
  /** Name of the class. */
  override name = "StreamError";
  /** Name of the channel: "main", "multifd 0". */
  readonly channel: string;
  /** Byte offset in the channel at which the fault begins. */
  readonly offset: number;
  /** What stands there. */
  readonly found?: string;
  /** What should. */
  readonly expected?: string;
  /** QEMU's own sentences, innermost first. */
  readonly qemu: readonly string[];
  /** The C library's text for the errno QEMU would end with. */
  readonly reason: string;

  /**
   * A fault, its message put together from the parts.
   * @param action what was being done: "Cannot read section footer"
   */
  constructor(action: string, options: StreamErrorOptions) {
    const { found, expected } = options;
    const parts = [found && oneLine(found), expected && `expected ${printable(expected)}`].filter(Boolean);
    const said = options.qemu?.length ? ` (QEMU: ${options.qemu.map(oneLine).join("; ")})` : "";
    super(
      `${oneLine(action)} at offset ${hex(options.offset)} in "${printable(options.channel)}"` +
        (parts.length ? ": " + parts.join(", ") : "") + said,
      { cause: options.cause },
    );
    this.channel = options.channel;
    this.offset = options.offset;
    this.found = options.found;
    this.expected = options.expected;
    this.qemu = options.qemu?.map(oneLine) ?? [];
    this.reason = options.reason ?? "Invalid argument";
  }
}

/** The channel ended inside a record. */
export class TruncatedStreamError extends StreamError {
  /** Name of the class. */
  override name = "TruncatedStreamError";
  /**
   * Bytes that end early; the errno is EIO unless given.
   * @param action what was being done when the bytes ended
   */
  constructor(action: string, options: StreamErrorOptions) {
    super(action, { reason: "Input/output error", ...options });
  }
}

/** The bytes may be right, but need a feature that is not there. */
export class UnsupportedError extends StreamError {
  /** Name of the class. */
  override name = "UnsupportedError";
  /** QEMU's name of the feature: "multifd", "xbzrle". */
  readonly feature: string;
  /**
   * A stream that needs more than is there.
   * @param action what cannot be done without the feature
   */
  constructor(action: string, options: StreamErrorOptions & { feature: string }) {
    super(action, options);
    this.feature = options.feature;
  }
}

/** A page was asked for that lies outside its block, or in no block at all. */
export class MemoryFaultError extends Error {
  /** Name of the class. */
  override name = "MemoryFaultError";
  /**
   * A place nobody has.
   * @param block idstr, or empty when no block is meant
   * @param pageOffset bytes from the block's begin
   */
  constructor(message: string, readonly block: string, readonly pageOffset: number) {
    super(printable(message));
  }
}

/** The outside world said no: a file, a socket, a command. The message is QEMU's where it has one. */
export class TransportError extends Error {
  /** Name of the class. */
  override name = "TransportError";
}

/** A command was mistyped, or a rule forbids it now. The message is QEMU's, without `Error: `. */
export class CommandError extends Error {
  /** Name of the class. */
  override name = "CommandError";
  /**
   * What a monitor says no with.
   * @param message QEMU's text
   * @param hint    further lines QEMU prints below it, each without its line end
   * @param errorClass class in a QMP answer
   */
  constructor(message: string, readonly hint: readonly string[] = [], readonly errorClass: string = "GenericError") {
    super(message);
  }
}
