// The page of live pictures.
