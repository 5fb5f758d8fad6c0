/**
 * Results of RUN are found again by what they were made from; what a secret gave, or a network, is not part of that. So each RUN also asks
 * for a secret that nobody has, by a name of this project and environment: it leaves no trace in the step, and equal steps of others are
 * different ones.
 */
export function runScope(scope: string): string {
  return `--mount=type=secret,id=${scope},required=false`
}

/** In what the builder says of a step, that is nothing that its author wrote. */
export function withoutRunScope(text: string): string {
  return text.replace(/ ?--mount=type=secret,id=shiplock-[0-9a-f]{24},required=false(?= |$)/g, '')
}
