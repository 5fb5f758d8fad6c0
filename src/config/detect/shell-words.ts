/** For the shell: a runtime that confines no network says in HOST that loopback is enough. */
// biome-ignore lint/suspicious/noTemplateCurlyInString: a shell default, not a template
export const ADDRESS = '"${HOST:-0.0.0.0}"'
