#!/usr/bin/env bash
# Counts the instructions of one call of each layer under callgrind, and compares them with the
# budgets in benches/instructions.txt. Fails if a layer has grown by more than 5 %.
#
#   benches/instructions.sh            compares
#   benches/instructions.sh --bless    takes today's counts as the budgets
#   benches/instructions.sh --peers    counts the peers too, which have no budget
#
# CALLGRIND_OUT=DIR keeps callgrind's files there, for callgrind_annotate.
set -euo pipefail
cd "$(dirname "$0")/.."

calls=2000
tolerance=5
budgets=benches/instructions.txt
bless=false
list=()
for argument in "$@"; do
    case $argument in
        --bless) bless=true ;;
        --peers) list=(--peers) ;;
        *)
            sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"
            exit 2
            ;;
    esac
done

if ! valgrind=$(command -v valgrind); then
    echo "valgrind is missing. Install it: apt-get install valgrind (Debian, Ubuntu)," \
        "dnf install valgrind (Fedora), pacman -S valgrind (Arch)." >&2
    exit 2
fi

# The bench profile has one code-generation unit, so that equal sources give equal counts.
cargo build --quiet --profile bench -p buttress-benches --bin instructions
program=$(cargo build --quiet --profile bench -p buttress-benches --bin instructions \
    --message-format=json | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p')

out=${CALLGRIND_OUT:-$(mktemp -d)}
mkdir -p "$out"
[[ -n ${CALLGRIND_OUT:-} ]] || trap 'rm -rf "$out"' EXIT

count() {
    local file="$out/${1//\//-}.callgrind"
    # Without the environment, whose size shifts the stack and with it the way memory is copied.
    env -i "$valgrind" --tool=callgrind --toggle-collect='*measured*' \
        --callgrind-out-file="$file" "$program" "$1" "$calls" >"$out/log" 2>&1 || {
        cat "$out/log" >&2
        exit 2
    }
    awk -v calls="$calls" '/^totals:/ { printf "%.0f", $2 / calls }' "$file"
}

compiler="$(rustc --version | cut -d' ' -f1,2), $(uname -m)"
if ! $bless && [[ -f $budgets ]] && ! head -n 1 "$budgets" | grep -qF "$compiler"; then
    echo "note: the budgets were set with another compiler or machine: $(head -n 1 "$budgets")" >&2
fi

counts=$(mktemp)
failed=0
printf '%-32s %12s %8s %8s\n' subject instructions budget change
for subject in $("$program" ${list[@]+"${list[@]}"}); do
    now=$(count "$subject")
    if ((now == 0)); then
        echo "$subject: nothing was counted; is there still a function named \`measured\`?" >&2
        exit 2
    fi
    budget=$(awk -v subject="$subject" '$1 == subject { print $2 }' "$budgets" 2>/dev/null || true)
    ours=false
    [[ $subject == */buttress* ]] && ours=true
    $ours && printf '%s %s\n' "$subject" "$now" >>"$counts"
    change=
    if [[ -n $budget ]]; then
        change=$(awk -v now="$now" -v budget="$budget" \
            'BEGIN { printf "%+.1f %%", 100 * (now - budget) / budget }')
        if ((now * 100 > budget * (100 + tolerance))); then
            change+=' too many'
            failed=1
        fi
    elif $ours && ! $bless; then
        change='no budget'
        failed=1
    fi
    printf '%-32s %12s %8s %8s\n' "$subject" "$now" "${budget:--}" "$change"
done

if $bless; then
    {
        echo "# Instructions per call, set with $compiler. Written by benches/instructions.sh --bless."
        cat "$counts"
    } >"$budgets"
    echo "written to $budgets"
elif ((failed)); then
    echo "Over budget by more than $tolerance %, or without a budget." \
        "If it is worth it: benches/instructions.sh --bless" >&2
    exit 1
fi
