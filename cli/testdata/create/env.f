A=1
# c
  B=x y 
FOO
NOPE
C=

D=a=b
