;; Random content for guest RAM: word i of a block is splitmix64 of the seed at place i, so that every part of a block
;; can be made by itself, in any order and in any Worker, and comes out the same.
;; Assembled with wabt (feature: threads); the bytes are the base64 literal in random.ts.
(module
  (import "guest" "ram" (memory $ram 0 65536 shared))

  ;; Write $words 64-bit words at $at; $state is the generator's state before the first of them.
  (func (export "fill") (param $at i32) (param $words i32) (param $state i64)
    (local $z i64)
    (block $done
      (loop $each
        (br_if $done (i32.eqz (local.get $words)))
        (local.set $state (i64.add (local.get $state) (i64.const 0x9e3779b97f4a7c15)))
        (local.set $z (i64.mul
          (i64.xor (local.get $state) (i64.shr_u (local.get $state) (i64.const 30)))
          (i64.const 0xbf58476d1ce4e5b9)))
        (local.set $z (i64.mul
          (i64.xor (local.get $z) (i64.shr_u (local.get $z) (i64.const 27)))
          (i64.const 0x94d049bb133111eb)))
        (i64.store (local.get $at) (i64.xor (local.get $z) (i64.shr_u (local.get $z) (i64.const 31))))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (local.set $words (i32.sub (local.get $words) (i32.const 1)))
        (br $each)))))
