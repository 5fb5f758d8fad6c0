import { printable } from '../../core/printable.ts'
import type { SourceFiles } from '../source-files.ts'
import type { Detection, Detector } from './detector.ts'
import { readProcfile } from './procfile.ts'

/** The largest archive holds the rest (Spring Boot, shaded); what is left beside it are its parts, sources and documentation. */
const keep = (directory: string) =>
  `jar=$(ls -S ${directory}/*.jar 2>/dev/null | grep -v -e '-sources\\.jar$' -e '-javadoc\\.jar$' -e '-plain\\.jar$' -e '/original-' | head -n 1); [ -n "$jar" ] || { echo 'the build left no jar in ${directory}' >&2; exit 1; }; cp "$jar" app.jar`

/** Maven and Gradle, by their wrapper where there is one. */
export const javaDetector: Detector = {
  name: 'java',
  async detect(files, { isStartKnown }): Promise<Detection> {
    const tool = await toolOf(files)
    if (tool === null) return { found: false, lookedFor: 'a pom.xml or build.gradle', because: null }
    const web = (await readProcfile(files)).get('web')
    const { start, isKept } = startOf(tool, web)
    return {
      found: true,
      what: `Java app (${tool.marker})`,
      input: {
        build: { base: 'java', buildCommands: [tool.build, ...(isKept ? [keep(tool.output)] : [])], deployFiles: ['./'] },
        ...(isStartKnown ? {} : { run: { base: 'java', start } }),
      },
      reasons: [
        `${tool.marker} is there: \`${tool.build}\``,
        web !== undefined && start === web
          ? `Procfile names the web process: \`${printable(web)}\``
          : `the largest jar of ${tool.output} is started, with its port in server.port (Spring Boot) and in PORT`,
      ],
    }
  },
}

interface JavaTool {
  readonly marker: string
  readonly build: string
  readonly output: string
  readonly isQuarkus: boolean
}

async function toolOf(files: SourceFiles): Promise<JavaTool | null> {
  const pom = await files.readIfText('pom.xml')
  if (pom !== null) {
    const maven = (await files.has('mvnw')) ? 'sh ./mvnw' : 'mvn'
    return {
      marker: 'pom.xml',
      build: `${maven} --batch-mode --no-transfer-progress -DskipTests package`,
      output: 'target',
      isQuarkus: /quarkus-maven-plugin/.test(pom),
    }
  }
  for (const marker of ['build.gradle', 'build.gradle.kts']) {
    const text = await files.readIfText(marker)
    if (text === null) continue
    const gradle = (await files.has('gradlew')) ? 'sh ./gradlew' : 'gradle'
    return { marker, build: `${gradle} --no-daemon assemble`, output: 'build/libs', isQuarkus: /io\.quarkus/.test(text) }
  }
  return null
}

function startOf({ isQuarkus, output }: JavaTool, web: string | undefined): { readonly start: string; readonly isKept: boolean } {
  if (web !== undefined) return { start: web, isKept: false }
  if (isQuarkus) {
    const directory = output === 'target' ? 'target' : 'build'
    return {
      start: `QUARKUS_HTTP_HOST=0.0.0.0 QUARKUS_HTTP_PORT="$PORT" exec java -jar ${directory}/quarkus-app/quarkus-run.jar`,
      isKept: false,
    }
  }
  return { start: 'SERVER_PORT="$PORT" exec java -Dserver.port="$PORT" -jar app.jar', isKept: true }
}
