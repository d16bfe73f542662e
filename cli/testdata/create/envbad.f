A B=1
