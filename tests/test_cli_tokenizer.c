/* test_cli_tokenizer.c - `hone tokenizer` as typed: what it prints, what it writes, how it fails.
 * rooms: cli
 * needs: cli */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[] = "/tmp/hone-cli-tok-XXXXXX";

/* Runs a shell line in the scratch folder with $H = the binary; stdout and stderr go to `out`. The exit code. */
static int run(const char *line, char out[16384])
{
    char command[1024];
    snprintf(command, sizeof command, "cd %s && H=%s && { %s; } 2>&1", dir, HONE_BINARY, line);
    FILE *p = popen(command, "r");
    assert_non_null(p);
    size_t n = fread(out, 1, 16383, p);
    out[n] = '\0';
    int status = pclose(p);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void expect(const char *line, int code, const char *text)
{
    char out[16384];
    int got = run(line, out);
    if (got != code || !strstr(out, text))
        fail_msg("%s\nexit %d, wanted %d and \"%s\":\n%s", line, got, code, text, out);
}

static void test_show(void **state)
{
    (void)state;
    expect("$H tokenizer show --json --tokenizer " HONE_TESTS_DIR "/golden/tokenizers/bpe.json 'the fox'", 0,
           "{\"ids\":[0,");
    expect("$H tokenizer show --json a b a", 0, "\"tokens\":[\"a\",\"b\",\"a\",\"#");
    expect("$H tokenizer show B a --cased", 0, "0\tB\n1\ta\n");
    expect("$H tokenizer show --json ' '", 0, "{\"ids\":[],\"tokens\":[]}\n");
    expect("$H tokenizer show --tokenizer nowhere.json x", 3, "nowhere.json: no such tokenizer file");
    expect("$H tokenizer show", 2, "needs a text");
    expect("$H tokenizer shwo x", 2, "did you mean show?");
}

static void test_train(void **state)
{
    (void)state;
    char out[16384];
    static const char *const kind[] = {"wordpiece", "bpe", "char", "ngram"};
    assert_int_equal(run("for i in 1 2 3 4 5 6 7 8; do echo \"line $i of some text, some words\"; done > a.txt", out),
                     0);
    for (int k = 0; k < 4; k++) {
        char line[300];
        snprintf(line, sizeof line, "$H tokenizer train a.txt a.txt --kind %s --vocab-size 300 -o %s.json", kind[k],
                 kind[k]);
        expect(line, 0, "from 16 texts");
        snprintf(line, sizeof line, "$H tokenizer show --json --tokenizer %s.json 'some text'", kind[k]);
        expect(line, 0, "\"tokens\":[\"");
    }
    expect("$H tokenizer show --json --tokenizer wordpiece.json 'some text'", 0,
           "\"tokens\":[\"[CLS]\",\"some\",\"text\",\"[SEP]\"]");
    expect("$H tokenizer train a.txt --kind bpe --vocab-size 300 --threads 1 --json -o one.json && "
           "$H tokenizer train a.txt --kind bpe --vocab-size 300 --threads 4 -o four.json && cmp one.json four.json",
           0, "\"fingerprint\":\"");
    expect("printf 'label\\ttext\\nx\\tsome words\\ny\\tmore words\\n' > d.tsv; $H tokenizer train d.tsv --kind char "
           "-o d.json",
           0, "char, 10 ids, from 2 texts");
}

static void test_wrong(void **state)
{
    (void)state;
    expect("$H tokenizer train", 2, "needs texts");
    expect("$H tokenizer train a.txt --kind bep", 2, "did you mean bpe?");
    expect("$H tokenizer train a.txt --kind bpe --vocab-size 100", 2, "byte-level BPE needs");
    expect("$H tokenizer train missing.txt", 1, "missing.txt");
    expect("$H tokenizer train a.txt d.tsv", 2, "can't be mixed");
    expect(": > empty.txt; $H tokenizer train empty.txt", 3, "nothing to learn from");
    expect("$H tokenizer train a.txt -o /nonexistent/x.json", 1, "/nonexistent/x.json");
    expect("$H help tokenizer", 0, "examples");
    expect("rm -r "
           "* && pwd",
           0, dir);
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    if (!mkdtemp(dir)) return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_show), cmocka_unit_test(test_train),
                                       cmocka_unit_test(test_wrong)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
