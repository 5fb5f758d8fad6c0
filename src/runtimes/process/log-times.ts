import { appendFileSync, closeSync, fstatSync, openSync, readFileSync, readSync, renameSync, writeFileSync } from 'node:fs'
import { LIMITS } from '../../core/limits.ts'

/**
 * When a log had which length: lines `<offset> <seconds>.<ms>`, appended by the server as output comes and by the supervisor every 10 s.
 * The app writes its file directly, so this is where the time of a line comes from: the first note at or behind the line's end.
 */
export class LogTimes {
  readonly #file: string
  readonly #offsets: number[] = []
  readonly #times: number[] = []
  #read = 0

  constructor(logFile: string) {
    this.#file = `${logFile}.times`
  }

  /** Ms since the epoch at which the log was known to reach `offset`; null when nothing was noted since. */
  at(offset: number): number | null {
    if ((this.#offsets.at(-1) ?? -1) < offset) this.#refresh()
    let low = 0
    for (let high = this.#offsets.length; low < high; ) {
      const middle = (low + high) >>> 1
      if ((this.#offsets[middle] ?? 0) < offset) low = middle + 1
      else high = middle
    }
    return this.#times[low] ?? null
  }

  note(offset: number, now: number): void {
    appendFileSync(this.#file, `${offset} ${(now / 1000).toFixed(3)}\n`, { mode: 0o600 })
  }

  /** Halves the resolution when the file is over its bound; old lines get a slightly later time. */
  bound(): void {
    let text: string
    try {
      text = readFileSync(this.#file, 'latin1')
    } catch {
      return
    }
    if (text.length <= LIMITS.logTimesBytes) return
    const lines = text.split('\n').filter((line) => line !== '')
    const kept = lines.filter((_, index) => index % 2 === 1 || index === lines.length - 1)
    writeFileSync(`${this.#file}.tmp`, `${kept.join('\n')}\n`, { mode: 0o600 })
    renameSync(`${this.#file}.tmp`, this.#file)
  }

  #refresh(): void {
    let file: number
    try {
      file = openSync(this.#file, 'r')
    } catch {
      return
    }
    try {
      const size = fstatSync(file).size
      if (size < this.#read) {
        this.#read = this.#offsets.length = this.#times.length = 0
      }
      const chunk = Buffer.alloc(size - this.#read)
      readSync(file, chunk, 0, chunk.length, this.#read)
      const whole = chunk.lastIndexOf(0x0a) + 1
      this.#read += whole
      for (const line of chunk.subarray(0, whole).toString('latin1').split('\n')) this.#add(line)
    } finally {
      closeSync(file)
    }
  }

  #add(line: string): void {
    const [offset, seconds] = line.split(' ').map(Number)
    // Two writers: an entry that goes backwards is a late one and says nothing new.
    if (offset === undefined || seconds === undefined || !(offset > (this.#offsets.at(-1) ?? -1))) return
    this.#offsets.push(offset)
    this.#times.push(Math.round(seconds * 1000))
  }
}
