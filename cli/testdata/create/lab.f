l1=v1
# comment

