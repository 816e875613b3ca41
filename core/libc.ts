/**
 * The C library, for calls Deno has no name for. Needs `--allow-ffi` without a path.
 * @module
 */

/** What each use of {@link lazyLibc} has besides its own calls. */
const ERRNO = { __errno_location: { parameters: [], result: "pointer" } } as const;

/** Calls of the C library, and the number of the last error on this thread. */
export interface Libc<Calls extends Deno.ForeignLibraryInterface> {
  /** Opened at the first use. @throws where FFI is not allowed */
  readonly calls: Deno.DynamicLibrary<Calls>["symbols"];
  /** errno; a nonblocking call leaves it on another thread. */
  errno(): number;
}

/** Calls as they are declared. */
export function lazyLibc<const Calls extends Deno.ForeignLibraryInterface>(calls: Calls): Libc<Calls> {
  let own: Deno.DynamicLibrary<Calls> | undefined;
  let errno: Deno.DynamicLibrary<typeof ERRNO> | undefined;
  return {
    get calls() {
      errno ??= Deno.dlopen("libc.so.6", ERRNO); // now, as opening it would change what it is to tell
      return (own ??= Deno.dlopen("libc.so.6", calls)).symbols;
    },
    errno() {
      errno ??= Deno.dlopen("libc.so.6", ERRNO);
      return new Deno.UnsafePointerView(errno.symbols.__errno_location()!).getInt32();
    },
  };
}
