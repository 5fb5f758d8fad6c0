/** A text of code units (strings) or bytes. */
export type Units = { readonly length: number; readonly [index: number]: number }

const ROOT = 0
/** Worked through between two pauses. */
const PAUSE_UNITS = 8192

/**
 * Finds many patterns at once in one pass over the text, whatever the patterns are: time grows with the length of the text alone
 * (Aho and Corasick, "Efficient string matching", CACM 18:6, 1975). Works a unit at a time, so a match may span any number of chunks:
 * whoever feeds it keeps the state.
 */
export class PatternAutomaton {
  /** Parent and unit of each node; the edges stand in an open-addressed table of nodes. */
  readonly #parent: Int32Array
  readonly #unit: Uint16Array
  readonly #depth: Int32Array
  readonly #fail: Int32Array
  /** Pattern that ends at the node, or -1. */
  readonly #pattern: Int32Array
  /** The nearest node on the chain of failures, this one included, where a pattern ends; ROOT = none. */
  readonly #ending: Int32Array
  /** Length of the shortest pattern that goes through the node. */
  readonly #shortest: Int32Array
  readonly #table: Int32Array
  readonly #startsLow = new Uint8Array(256)
  /** First and second unit of the patterns, both below 256: most places of a text are passed by with one look. */
  readonly #startPairs = new Uint8Array(65_536)
  #nodes = 1

  private constructor(patterns: readonly Units[]) {
    const bound = patterns.reduce((sum, pattern) => sum + pattern.length, 1)
    this.#parent = new Int32Array(bound)
    this.#unit = new Uint16Array(bound)
    this.#depth = new Int32Array(bound)
    this.#fail = new Int32Array(bound)
    this.#pattern = new Int32Array(bound).fill(-1)
    this.#ending = new Int32Array(bound)
    this.#shortest = new Int32Array(bound).fill(2 ** 31 - 1)
    this.#table = new Int32Array(2 ** Math.ceil(Math.log2(bound * 2 + 2)))
  }

  /** Pauses from time to time: millions of units take seconds. */
  static *build(patterns: readonly Units[]): Generator<void, PatternAutomaton> {
    const automaton = new PatternAutomaton(patterns)
    let sincePause = 0
    for (const [index, pattern] of patterns.entries()) {
      automaton.#add(pattern, index)
      sincePause += pattern.length
      if (sincePause < PAUSE_UNITS) continue
      sincePause = 0
      yield
    }
    yield* automaton.#link()
    return automaton
  }

  get isEmpty(): boolean {
    return this.#nodes === 1
  }

  /** False when no pattern begins with these two units; then a state of 0 stays 0 over the first of them. */
  mayStart(unit: number, following: number): boolean {
    return unit > 255 || following > 255 || this.#startPairs[(unit << 8) | following] !== 0
  }

  /** The state after one more unit; 0 is the state at the beginning. */
  next(state: number, unit: number): number {
    if (state === ROOT && unit < 256 && this.#startsLow[unit] === 0) return ROOT
    for (let node = state; ; node = this.#fail[node] ?? ROOT) {
      const child = this.#child(node, unit)
      if (child !== ROOT) return child
      if (node === ROOT) return ROOT
    }
  }

  /** How many units back the longest pattern begins that ends in this state; 0 = none ends here. */
  matchLength(state: number): number {
    return this.#depth[this.#ending[state] ?? ROOT] ?? 0
  }

  /** Every pattern that ends in this state, longest first, by its place in the list that was given. */
  *matches(state: number): Generator<number> {
    for (let node = this.#ending[state] ?? ROOT; node !== ROOT; node = this.#ending[this.#fail[node] ?? ROOT] ?? ROOT)
      yield this.#pattern[node] ?? -1
  }

  /** How many of the last units may still be the beginning of a pattern. */
  pendingLength(state: number): number {
    return this.#depth[state] ?? 0
  }

  /** How many of the last units are a beginning that gives a pattern away: at least `least` units, and `enough` or half of the pattern. */
  tellingLength(state: number, least: number, enough: number): number {
    for (let node = state; node !== ROOT; node = this.#fail[node] ?? ROOT) {
      const depth = this.#depth[node] ?? 0
      if (depth < least) return 0
      if (depth >= enough || depth * 2 >= (this.#shortest[node] ?? 0)) return depth
    }
    return 0
  }

  #add(pattern: Units, index: number): void {
    if (pattern.length === 0) return
    this.#addStart(pattern[0] ?? 0, pattern[1])
    let node = ROOT
    for (let at = 0; at < pattern.length; at++) {
      const unit = pattern[at] ?? 0
      let child = this.#child(node, unit)
      if (child === ROOT) child = this.#makeChild(node, unit)
      node = child
      this.#shortest[node] = Math.min(this.#shortest[node] ?? 0, pattern.length)
    }
    if (this.#pattern[node] === -1) this.#pattern[node] = index
  }

  #addStart(unit: number, following: number | undefined): void {
    if (unit > 255) return
    if (following === undefined) this.#startPairs.fill(1, unit << 8, (unit + 1) << 8)
    else if (following < 256) this.#startPairs[(unit << 8) | following] = 1
  }

  #makeChild(parent: number, unit: number): number {
    const node = this.#nodes
    this.#nodes += 1
    this.#parent[node] = parent
    this.#unit[node] = unit
    this.#depth[node] = (this.#depth[parent] ?? 0) + 1
    if (parent === ROOT && unit < 256) this.#startsLow[unit] = 1
    const mask = this.#table.length - 1
    let slot = hash(parent, unit) & mask
    while (this.#table[slot] !== 0) slot = (slot + 1) & mask
    this.#table[slot] = node
    return node
  }

  /** All nodes but the root, shallow ones first. */
  #byDepth(): Int32Array {
    const depths = this.#depth.subarray(1, this.#nodes)
    const ends = new Int32Array(depths.reduce((deepest, depth) => Math.max(deepest, depth), 0) + 2)
    for (const depth of depths) ends[depth + 1] = (ends[depth + 1] ?? 0) + 1
    for (let depth = 1; depth < ends.length; depth++) ends[depth] = (ends[depth] ?? 0) + (ends[depth - 1] ?? 0)
    const order = new Int32Array(depths.length)
    for (const [index, depth] of depths.entries()) {
      const place = ends[depth] ?? 0
      order[place] = index + 1
      ends[depth] = place + 1
    }
    return order
  }

  #child(parent: number, unit: number): number {
    const mask = this.#table.length - 1
    for (let slot = hash(parent, unit) & mask; ; slot = (slot + 1) & mask) {
      const node = this.#table[slot] ?? 0
      if (node === 0) return ROOT
      if (this.#parent[node] === parent && this.#unit[node] === unit) return node
    }
  }

  /** Failures by depth: a node's points at a shallower one, which must be known. */
  *#link(): Generator<void, void> {
    const order = this.#byDepth()
    for (const [index, node] of order.entries()) {
      if (index % PAUSE_UNITS === PAUSE_UNITS - 1) yield
      const parent = this.#parent[node] ?? ROOT
      this.#fail[node] = parent === ROOT ? ROOT : this.next(this.#fail[parent] ?? ROOT, this.#unit[node] ?? 0)
      this.#ending[node] = this.#pattern[node] === -1 ? (this.#ending[this.#fail[node] ?? ROOT] ?? ROOT) : node
    }
  }
}

function hash(node: number, unit: number): number {
  const mixed = Math.imul(node, 0x9e3779b1) ^ Math.imul(unit + 1, 0x85ebca6b)
  return (mixed ^ (mixed >>> 15)) >>> 0
}
