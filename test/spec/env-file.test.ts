// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the syntax under test looks like that of templates.
import t from "tap";
import { problemsOf, valid, web, webFile } from "./parse.ts";

function environmentOf(text: string, environment: Readonly<Record<string, string>> = {}) {
  const service = web("env_file: web.env", { environment, readFile: () => text });
  return service.template.environment;
}

t.test("env_file", async (t) => {
  t.test("reads lines as Compose does", async (t) => {
    const text = `# comment
A=1
export B = two words   # comment
C='single $A # kept'
D="double $A\\n\\"x\\" \${A}0"
E=a#b
F=
G="first
second"
HOST
GONE
H=$A-$HOST
`;
    t.strictSame(environmentOf(text, { HOST: "h" }), {
      A: "1",
      B: "two words",
      C: "single $A # kept",
      D: 'double 1\n"x" 10',
      E: "a#b",
      F: "",
      G: "first\nsecond",
      H: "1-h",
      HOST: "h",
    });
  });

  t.test("later files override earlier ones, and `environment` overrides all", async (t) => {
    const files: Readonly<Record<string, string>> = {
      "a.env": "A=a\nB=a\nC=a",
      "b.env": "B=b\nC=b",
    };
    const service = web("env_file: [a.env, {path: b.env}]\nenvironment: [C=c]", {
      readFile: (path) => files[path],
    });
    t.strictSame(service.template.environment, { A: "a", B: "b", C: "c" });
  });

  t.test("a missing file is a problem, unless it is not required", async (t) => {
    const readFile = () => undefined;
    t.strictSame(problemsOf(webFile("env_file: [a.env]"), { readFile }), [
      "c.yaml:4:16: the file `a.env` does not exist; add the file, or write `{path: …, required: false}`",
    ]);
    t.strictSame(
      problemsOf(webFile("env_file: [{path: a.env, required: false}]"), { readFile }),
      [],
    );
  });

  t.test("a file with a NUL byte is refused, with the place of the byte", async (t) => {
    const readFile = () => 'A=1\nB="x\n  \0"';
    t.strictSame(problemsOf(webFile("env_file: a.env"), { readFile }), [
      "a.env:3:3: the file holds a NUL byte, which no process can be given; save it as text in UTF-8",
    ]);
  });

  t.test("is a problem where no files can be read", async (t) => {
    t.strictSame(problemsOf(webFile("env_file: a.env")), [
      "c.yaml:4:15: `a.env` cannot be read here; files can only be read by the command line; use `environment`",
    ]);
  });

  t.test("names the line of the file that is wrong", async (t) => {
    const readFile = () => 'A=1\nnot a line\nB=$\nC="open\n';
    t.strictSame(problemsOf(webFile("env_file: a.env"), { readFile }), [
      "a.env:2:1: `not a line` is not a `KEY=value` line",
      "a.env:3:1: `$` is not followed by the name of a variable; write `$$` for a plain dollar sign",
      "a.env:4:1: the quote is not closed",
    ]);
  });
});

t.test("environment", async (t) => {
  t.test("takes a key without a value from the environment, where it is there", async (t) => {
    const lines = "environment: {A: , B: , C: ''}";
    const { services, ignored } = valid(webFile(lines), { environment: { A: "1" } });
    t.strictSame(services[0]?.template.environment, { A: "1", C: "" });
    t.strictSame(ignored, [
      "c.yaml:4:24: the variable `B` is not set where the file is read, so the container does not get it",
    ]);
  });

  t.test("passes numbers and booleans on as they are written", async (t) => {
    const { template } = web("environment: {A: 1.10, B: 0x1F, C: true, D: 1e3}");
    t.strictSame(template.environment, { A: "1.10", B: "0x1F", C: "true", D: "1e3" });
  });

  t.test("takes any name, also one that is special in JavaScript", async (t) => {
    const { template } = web('environment: ["__proto__=x"]');
    t.strictSame(Object.entries(template.environment), [["__proto__", "x"]]);
  });

  t.test("replaces variables, and warns of those that are missing", async (t) => {
    const lines = 'environment:\n  A: "${X:-x} $GONE"\n  B: |\n    one\n    $GONE';
    const { services, ignored } = valid(webFile(lines));
    t.strictSame(services[0]?.template.environment, { A: "x ", B: "one\n\n" });
    t.strictSame(ignored, [
      "c.yaml:5:19: the variable `GONE` is not set; an empty text stands for it",
      "c.yaml:8:9: the variable `GONE` is not set; an empty text stands for it",
    ]);
  });
});
