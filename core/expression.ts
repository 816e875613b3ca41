/**
 * Number arguments of the monitor are C expressions over int64.
 *
 *     sum   = logic { ("+" | "-") logic }
 *     logic = prod { ("&" | "|" | "^") prod }       // binds tighter than + and -
 *     prod  = unary { ("*" | "/" | "%") unary }
 *     unary = ("+" | "-" | "~") unary | "(" sum ")" | "'" char "'" | "$" register | number
 *
 * Blanks may stand anywhere between; numbers are decimal, octal (`010`) or hexadecimal. An expression takes as much of the
 * line as it can, so an unquoted path after a number is read as a division. Source: QEMU monitor/hmp.c (get_expr).
 * @module
 */

/** How deep parentheses and signs may nest; QEMU has no limit but its stack. */
const MAX_DEPTH = 1000;

/** The text is no expression; the message is QEMU's. */
export class ExpressionError extends Error {
  override name = "ExpressionError";
}

/** True for the characters C's isspace() accepts. */
export function isBlank(char: string | undefined): boolean {
  return char !== undefined && char !== "" && " \t\n\v\f\r".includes(char);
}

/**
 * Evaluate the expression that begins at `start`.
 *
 * @param registers value of `$name`, undefined for an unknown one
 * @returns the value, wrapped to int64, and where the expression ends
 * @throws {ExpressionError} with QEMU's text
 */
export function evaluate(
  text: string,
  start: number,
  registers: (name: string) => bigint | undefined = () => undefined,
): { value: bigint; end: number } {
  let at = start;
  let depth = 0;
  const skip = () => {
    while (isBlank(text[at])) at++;
  };
  const next = () => {
    at++;
    skip();
  };
  const wrap = (value: bigint) => BigInt.asIntN(64, value);

  const unary = (): bigint => {
    if (++depth > MAX_DEPTH) throw new ExpressionError("expression nests too deep");
    const value = operand();
    depth--;
    return value;
  };

  const operand = (): bigint => {
    const char = text[at];
    switch (char) {
      case undefined:
        throw new ExpressionError("unexpected end of expression");
      case "+":
        next();
        return unary();
      case "-":
        next();
        return wrap(-unary());
      case "~":
        next();
        return ~unary();
      case "(": {
        next();
        const value = sum();
        if (text[at] !== ")") throw new ExpressionError("')' expected");
        next();
        return value;
      }
      case "'": {
        const constant = text[at + 1];
        if (constant === undefined) throw new ExpressionError("character constant expected");
        if (text[at + 2] !== "'") throw new ExpressionError("missing terminating ' character");
        at += 2;
        next();
        return BigInt(constant.charCodeAt(0));
      }
      case "$": {
        const name = /^[A-Za-z0-9_.]*/.exec(text.slice(at + 1))![0];
        at += 1 + name.length;
        skip();
        const value = registers(name);
        if (value === undefined) throw new ExpressionError("unknown register");
        return wrap(value);
      }
      default:
        return number(char);
    }
  };

  const number = (char: string): bigint => {
    const digits = /^(?:0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)/.exec(text.slice(at))?.[0];
    if (digits === undefined) throw new ExpressionError(`invalid char '${char}' in expression`);
    const octal = digits.length > 1 && digits[0] === "0" && !/^0[xX]/.test(digits);
    const value = BigInt(octal ? "0o" + digits.slice(1) : digits);
    if (value >= 1n << 64n) throw new ExpressionError("number too large");
    at += digits.length;
    skip();
    return wrap(value);
  };

  const chain = (operators: string, inner: () => bigint, apply: (op: string, a: bigint, b: bigint) => bigint) => () => {
    let value = inner();
    for (let op = text[at]; op !== undefined && operators.includes(op); op = text[at]) {
      next();
      value = wrap(apply(op, value, inner()));
    }
    return value;
  };

  const prod = chain("*/%", unary, (op, a, b) => {
    if (op === "*") return a * b;
    if (b === 0n) throw new ExpressionError("division by zero");
    return op === "/" ? a / b : a % b;
  });
  const logic = chain("&|^", prod, (op, a, b) => op === "&" ? a & b : op === "|" ? a | b : a ^ b);
  const sum = chain("+-", logic, (op, a, b) => op === "+" ? a + b : a - b);

  skip();
  const value = sum();
  return { value, end: at };
}
