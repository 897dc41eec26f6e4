"""`backdrop review`: a page on this machine where results are looked at, approved, rejected and asked for again."""
