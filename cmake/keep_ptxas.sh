#!/bin/sh
# keep_ptxas.sh COMMAND... - runs a compile command with -Xptxas=-v and keeps what ptxas says of each kernel (registers,
# spills, stack, shared memory) in OBJECT.ptxas beside the object; all other words of the compiler go where they went.
# So tests/cuda_ptxas.py reads the figures of the build that is used, and nothing is compiled twice.
object='' last=''
for word in "$@"; do
    [ "$last" = -o ] && object=$word
    last=$word
done
case $object in
*.o) ;;
*) exec "$@" ;; # a compiler's own tests while configuring
esac
said=$object.said
"$@" -Xptxas=-v >"$said" 2>&1
code=$?
verbose='^ptxas info *: \(Compiling entry function\|Function properties for\|Used [0-9]\|[0-9]* bytes gmem\|Compile time\)'
grep -v "$verbose\|^    [0-9]* bytes stack frame" "$said" >&2
mv -f "$said" "$object.ptxas"
touch "$object.ptxas" # never older than the object that it speaks of
exit $code
