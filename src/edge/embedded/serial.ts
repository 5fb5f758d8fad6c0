/** Runs jobs one after another in the order in which they were given; a failed job does not stop the next. */
export class Serial {
  #last: Promise<unknown> = Promise.resolve()

  run<Result>(job: () => Promise<Result>): Promise<Result> {
    const result = this.#last.then(job)
    this.#last = result.catch(() => {})
    return result
  }
}
