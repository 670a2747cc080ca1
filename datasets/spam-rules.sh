#!/usr/bin/env bash
# spam-rules.sh [FILE.tsv] - a dozen rules by hand against spam, and how good they are: the measure for what is
# learned (datasets/spam.md). FILE: label<TAB>text with a header, datasets/spam/test.tsv by default.
#
# Each rule that matches gives its points; SPAM_POINTS (1) or more is spam. Rules and points were
# written by reading datasets/spam/train.tsv and tried on it alone.
set -euo pipefail
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
file=${1:-$here/spam/test.tsv}
[ -r "$file" ] || { echo "spam-rules.sh: $file: no such file; datasets/spam.sh makes it from a table of mails" >&2; exit 1; }
awk -F '\t' -v need="${SPAM_POINTS:-1}" '
    BEGIN {
        n = 0
        rule(2, "click (here|below|on the link)|(to|be) (unsubscribe|removed?) ")
        rule(1, "[$][0-9][0-9,.]+ |[0-9]+ ?% (off|free|guarantee)|million (dollars|us)")
        rule(2, "100% (free|risk|guarantee)|risk.free|money.back|no obligation|act now|limited time")
        rule(2, "viagra|weight loss|lose weight|(penis|breast) enlarge|adults? only|xxx|hot (girls|teens)")
        rule(2, "mortgage|refinanc|life insurance|interest rates|debt|credit card debt")
        rule(1, "make money|work (from|at) home|earn (up to )?[$]|extra income|business opportunit|financial freedom")
        rule(2, "nigeria|next of kin|confidential(ity)? .*(transfer|fund)|foreign account")
        rule(1, "dear (friend|sir|customer)|congratulations|you (have|are|ve) (been )?(selected|won|a winner)")
        rule(1, "!!|[$][$]|free!|&nbsp;")
        rule(2, "opt.?out|removed? from (our|this|the|future) ?(mailing)? ?(list|mail)|bulk e?.?mail|e?mail (addresses|marketing)")
        rule(-2, "wrote:|linux|perl |spamassassin|mailing list|^re: |\\[(ilug|spambayes|satalk|razor|exmh|zzzz)")
        rule(-1, "https?://(www[.])?(sourceforge|slashdot|newsisfree|boingboing|theregister|lists[.])|rpm|bug |kernel|python")
    }
    function rule(points, pattern) { point[++n] = points; match_[n] = pattern }
    NR == 1 && $1 == "label" { next }
    {
        text = tolower($2)
        sum = 0
        for (k = 1; k <= n; k++) if (text ~ match_[k]) sum += point[k]
        said = sum >= need ? "spam" : "ham"
        seen[$1, said]++
        rows++
    }
    END {
        tp = seen["spam", "spam"]; fp = seen["ham", "spam"]; fn = seen["spam", "ham"]; tn = seen["ham", "ham"]
        if (!rows || tp + fn == 0) { print "spam-rules.sh: no rows labelled spam" >"/dev/stderr"; exit 1 }
        printf "%d rules on %d mails: accuracy %.4f, precision %.4f, recall %.4f, F1 of spam %.4f (%d ham called spam, %d spam missed)\n",
            n, rows, (tp + tn) / rows, tp + fp ? tp / (tp + fp) : 0, tp / (tp + fn), 2 * tp / (2 * tp + fp + fn), fp, fn
    }' "$file"
