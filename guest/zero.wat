;; Zero-page detection over guest RAM, and nothing else.
;; $ram is a segment of guest RAM (shared); $flags belongs to the instance, so a flag can never land in a guest page.
;; Assembled with wabt (features: SIMD, threads, multi-memory); the bytes are the base64 literal in zero.ts.
(module
  (import "guest" "ram" (memory $ram 0 65536 shared))
  (memory $flags (export "flags") 1 1)

  ;; flags[i] = 1 when page i holds a non-zero byte, else 0; answers how many do.
  ;; $pageSize is a multiple of 128; $pages is at most 65536. A page is left at its first non-zero 128 bytes.
  (func (export "scan") (param $at i32) (param $pages i32) (param $pageSize i32) (result i32)
    (local $page i32) (local $end i32) (local $next i32) (local $found i32) (local $any i32)
    (block $done
      (loop $eachPage
        (br_if $done (i32.ge_u (local.get $page) (local.get $pages)))
        (local.set $next (i32.add (local.get $at) (local.get $pageSize)))
        (local.set $end (local.get $next))
        (local.set $any (i32.const 0))
        (block $pageDone
          (loop $eachStep
            (if (v128.any_true
                  (v128.or
                    (v128.or
                      (v128.or (v128.load $ram (local.get $at)) (v128.load $ram offset=16 (local.get $at)))
                      (v128.or (v128.load $ram offset=32 (local.get $at)) (v128.load $ram offset=48 (local.get $at))))
                    (v128.or
                      (v128.or (v128.load $ram offset=64 (local.get $at)) (v128.load $ram offset=80 (local.get $at)))
                      (v128.or (v128.load $ram offset=96 (local.get $at)) (v128.load $ram offset=112 (local.get $at))))))
              (then
                (local.set $any (i32.const 1))
                (br $pageDone)))
            (local.set $at (i32.add (local.get $at) (i32.const 128)))
            (br_if $eachStep (i32.ne (local.get $at) (local.get $end)))))
        (i32.store8 $flags (local.get $page) (local.get $any))
        (local.set $found (i32.add (local.get $found) (local.get $any)))
        (local.set $at (local.get $next))
        (local.set $page (i32.add (local.get $page) (i32.const 1)))
        (br $eachPage)))
    (local.get $found)))
