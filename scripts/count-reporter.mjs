import { writeFileSync } from 'node:fs'

/** What a variant of a driver can't do by its nature is not missing anywhere; its skip note begins so. */
const BY_DESIGN = 'by design: '

/** Vitest reporter: counts the tests and keeps why any was skipped, as JSON in the file that SHIPLOCK_TEST_REPORT names. */
export default class CountReporter {
  #counts = { passed: 0, failed: 0, byDesign: 0, skipped: [] }

  onTestCaseResult(test) {
    const { state, note } = test.result()
    if (state === 'passed') this.#counts.passed += 1
    else if (state === 'failed') this.#counts.failed += 1
    else if (note?.startsWith(BY_DESIGN)) this.#counts.byDesign += 1
    else this.#counts.skipped.push({ test: `${test.module.relativeModuleId}: ${test.fullName}`, note: note ?? 'no reason given' })
  }

  onTestRunEnd() {
    writeFileSync(process.env.SHIPLOCK_TEST_REPORT, JSON.stringify(this.#counts))
  }
}
