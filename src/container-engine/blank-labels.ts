/**
 * Labels of a new container. An engine passes on every label of the image, and programs on the host act on labels: proxies route by them,
 * schedulers run commands by them. An image comes from anybody, so each of its labels is set to nothing, which is the most that engines
 * allow; what the server itself asks for stands.
 */
export function labelsInstead(ofImage: readonly string[], own: Readonly<Record<string, string>>): Record<string, string> {
  return { ...Object.fromEntries(ofImage.map((name) => [name, ''])), ...own }
}
